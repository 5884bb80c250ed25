package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func shell(t *testing.T, script string) *process {
	t.Helper()
	p, err := startProcess(t.TempDir(), "program", "/bin/sh", nil, "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.kill() })
	return p
}

func TestProgramsAreFound(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "etcd")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	found := programs{t.TempDir(), dir}
	if got, err := found.find("etcd"); err != nil || got != path {
		t.Errorf("found %q, %v", got, err)
	}
	if _, err := found.find("kwok"); err == nil || !strings.Contains(err.Error(), "--programs") {
		t.Errorf("the error does not say what to give: %v", err)
	}
}

// An operator that ends by itself ends the run; one that the benchmark kills does
// not.
func TestOperatorThatEndsByItself(t *testing.T) {
	lost := &desk{plane: &plane{dir: "logs"}, leader: &operator{process: shell(t, "exit 3")}}
	ctx, stop := lost.whileLeading(t.Context())
	defer stop()
	select {
	case <-ctx.Done():
	case <-time.After(time.Minute):
		t.Fatal("the run goes on")
	}
	if err := context.Cause(ctx); !strings.Contains(err.Error(), "ended by itself (exit status 3)") {
		t.Errorf("the cause is %v", err)
	}
	killed := &desk{plane: &plane{dir: "logs"}, leader: &operator{process: shell(t, "exec sleep 600")}}
	ctx, stop = killed.whileLeading(t.Context())
	if err := killed.leader.kill(); err != nil {
		t.Fatal(err)
	}
	if err := killed.leader.stop(); err != nil {
		t.Errorf("stopping what has ended: %v", err)
	}
	stop()
	<-ctx.Done()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("the cause is %v", err)
	}
}

func TestChildIsFoundByName(t *testing.T) {
	p := shell(t, "exec sleep 600")
	err := poll(t.Context(), time.Millisecond, time.Minute, "the child runs", func(context.Context) (bool, error) {
		pid, err := childNamed("sleep")
		return pid == p.cmd.Process.Pid, err
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := childNamed("no-such-program"); err == nil {
		t.Error("a program that does not run was found")
	}
}

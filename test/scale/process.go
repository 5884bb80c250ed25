package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// stopTimeout is what a program is given to end by itself.
	stopTimeout = 20 * time.Second

	// ticksPerSecond is USER_HZ, in which Linux counts processor time for every
	// program, whatever the kernel's own tick is.
	ticksPerSecond = 100
)

// process is a program that the benchmark has started.
type process struct {
	name  string
	cmd   *exec.Cmd
	ended chan struct{}
	err   error
	// killed says that its end is this program's doing.
	killed atomic.Bool
}

// startProcess starts a program with its output in a file of dir.
func startProcess(dir, name, path string, env []string, args ...string) (*process, error) {
	log, err := os.Create(filepath.Join(dir, name+".log")) //nolint:gosec // In the run's own directory.
	if err != nil {
		return nil, err
	}
	// The program has the file now.
	defer func() { _ = log.Close() }()
	//nolint:gosec,noctx // The programs are the caller's choice, and they end in order, not with a context.
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &process{name: name, cmd: cmd, ended: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// kill ends the program at once, as a crash does.
func (p *process) kill() error {
	p.killed.Store(true)
	err := p.cmd.Process.Signal(syscall.SIGKILL)
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", p.name, err)
	}
	<-p.ended
	return nil
}

// stop asks the program to end and kills it if it does not.
func (p *process) stop() error {
	err := p.cmd.Process.Signal(syscall.SIGTERM)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-p.ended:
		return nil
	case <-timer.C:
		return errors.Join(fmt.Errorf("%s did not end within %s", p.name, stopTimeout), p.kill())
	}
}

// usage is what a process has used of the machine.
type usage struct {
	// cpu is processor time in user and kernel mode.
	cpu time.Duration
	// rss and peak are resident bytes, now and at most.
	rss, peak int64
}

// usageOf reads a process from /proc.
func usageOf(pid int) (usage, error) {
	var used usage
	proc, err := os.OpenRoot(filepath.Join("/proc", strconv.Itoa(pid)))
	if err != nil {
		return used, err
	}
	defer func() { _ = proc.Close() }()
	stat, err := proc.ReadFile("stat")
	if err != nil {
		return used, err
	}
	if used.cpu, err = processorTime(stat); err != nil {
		return used, err
	}
	status, err := proc.ReadFile("status")
	if err != nil {
		return used, err
	}
	for line := range strings.Lines(string(status)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		switch fields[0] {
		case "VmRSS:":
			used.rss, err = kibibytes(fields[1])
		case "VmHWM:":
			used.peak, err = kibibytes(fields[1])
		}
		if err != nil {
			return used, err
		}
	}
	return used, nil
}

// processorTime reads fields 14 and 15 of /proc/<pid>/stat. The second field is
// the program's name in parentheses and may hold anything.
func processorTime(stat []byte) (time.Duration, error) {
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/<pid>/stat is not understood: %q", stat)
	}
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/<pid>/stat is not understood: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / ticksPerSecond), nil
}

// childNamed is the process id of a child of this process, by the program's name.
func childNamed(name string) (int, error) {
	proc := os.DirFS("/proc")
	entries, err := fs.ReadDir(proc, ".")
	if err != nil {
		return 0, err
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		stat, err := fs.ReadFile(proc, entry.Name()+"/stat")
		if err != nil {
			continue // It has ended since.
		}
		end := bytes.LastIndexByte(stat, ')')
		fields := strings.Fields(string(stat[end+1:]))
		if bytes.HasSuffix(stat[:end], []byte("("+name)) && len(fields) > 1 && fields[1] == strconv.Itoa(os.Getpid()) {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("no child process runs %s", name)
}

func kibibytes(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	return n << 10, err
}

// serverUsage is the API server's, of which there is one at a time.
func serverUsage() (usage, error) {
	pid, err := childNamed("kube-apiserver")
	if err != nil {
		return usage{}, err
	}
	return usageOf(pid)
}

// poll asks until the answer is yes, with a deadline.
func poll(ctx context.Context, every, deadline time.Duration, what string, yes func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		ok, err := yes(ctx)
		if ok && err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s: not within %s", what, deadline), err, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

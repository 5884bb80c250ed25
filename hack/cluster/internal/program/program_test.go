package program

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestOutputIsStandardOutputAlone(t *testing.T) {
	out, err := Output(Command(t.Context(), "sh", "-c", "echo out; echo err >&2"), "say")
	if err != nil || out != "out\n" {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestFailuresCarryWhatTheProgramSaid(t *testing.T) {
	cmd := func() *exec.Cmd { return Command(t.Context(), "sh", "-c", "echo out; echo err >&2; exit 3") }
	_, err := Output(cmd(), "say")
	if want := "say: exit status 3: err"; err == nil || err.Error() != want {
		t.Errorf("Output: got %v, want %q", err, want)
	}
	err = Run(cmd(), "say")
	if want := "say: exit status 3\nout\nerr\n"; err == nil || err.Error() != want {
		t.Errorf("Run: got %v, want %q", err, want)
	}
}

func TestAbsentProgramIsNamed(t *testing.T) {
	err := Run(Command(t.Context(), "no-such-program"), "say")
	if err == nil || !strings.Contains(err.Error(), "no-such-program") {
		t.Errorf("got %v", err)
	}
}

func TestProgramEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := Run(Command(ctx, "sleep", "60"), "wait"); err == nil {
		t.Error("a program outlived its context")
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
}

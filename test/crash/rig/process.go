package rig

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// process is a running program. It is started and awaited on one thread, because
// the kernel ends it with that thread: a program whose harness was killed must not
// stay.
type process struct {
	pid   int
	ended chan struct{}
	err   error
}

func start(command *exec.Cmd) (*process, error) {
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p := &process{ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := command.Start(); err != nil {
			started <- err
			return
		}
		p.pid = command.Process.Pid
		started <- nil
		p.err = command.Wait()
		close(p.ended)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", command.Path, err)
	}
	return p, nil
}

// signal sends a signal; a process that is gone gets none.
func (p *process) signal(which syscall.Signal) error {
	select {
	case <-p.ended:
		return os.ErrProcessDone
	default:
		return syscall.Kill(p.pid, which)
	}
}

// kill ends it at once and waits for that.
func (p *process) kill() error {
	err := p.signal(syscall.SIGKILL)
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.ended
	return nil
}

// stop asks it to end, and fails if it does not within the time or ends with an
// error.
func (p *process) stop(patience time.Duration) error {
	if err := p.signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("it had ended before it was asked to: %w", errors.Join(err, p.err))
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.ended:
		return p.err
	case <-timer.C:
		return errors.Join(fmt.Errorf("it did not end within %s", patience), p.kill())
	}
}

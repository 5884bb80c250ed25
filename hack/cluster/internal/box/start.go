package box

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/cgroup"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/files"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/network"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/poll"
)

const pollEvery = 10 * time.Millisecond

var errEnded = errors.New("it has ended")

// Start makes sure that a box with this configuration runs and reports whether
// it started one. A box of another configuration, or of another version of this
// program, is stopped first; its data stay.
func Start(ctx context.Context, l Layout, config Config) (started bool, err error) {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return false, fmt.Errorf("read this executable: %w", err)
	}
	config.Supervisor = fmt.Sprintf("%x", sha256.Sum256(self))
	if pid, ok := Running(l); ok {
		if old, err := l.ReadConfig(); err == nil && reflect.DeepEqual(old, config) {
			if _, err := Status(ctx, l); err == nil {
				return false, nil
			}
		}
		if err := kill(ctx, pid); err != nil {
			return false, err
		}
	}
	if _, err := Sweep(ctx, l); err != nil {
		return false, err
	}
	if err := l.writeConfig(config); err != nil {
		return false, fmt.Errorf("store the configuration of the box: %w", err)
	}
	supervisor := l.Bin("supervisor")
	// A copy, because `go run` deletes its executable.
	if err := files.Replace(supervisor, self, 0o700); err != nil {
		return false, fmt.Errorf("install the supervisor: %w", err)
	}
	return true, launch(ctx, l, config, supervisor)
}

// launch clones the supervisor into its namespaces, links it to the host's
// network, records it, and only then lets it go on: a child whose parent dies
// before reads the end of the pipe and leaves.
func launch(ctx context.Context, l Layout, config Config, supervisor string) error {
	wait, goAhead, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = goAhead.Close() }()
	log, err := l.openLog("supervisor")
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer func() { _ = null.Close() }()
	process, err := os.StartProcess(supervisor, []string{"trading-cluster", InitCommand, l.Dir}, &os.ProcAttr{
		Dir:   "/",
		Env:   []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"},
		Files: []*os.File{null, log, log, wait},
		Sys: &syscall.SysProcAttr{
			Setsid:     true, // Ctrl-C at the terminal is for `up`, not for the cluster
			Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
		},
	})
	_ = wait.Close()
	if err != nil {
		return fmt.Errorf("start the supervisor in namespaces of its own (needs root and CAP_SYS_ADMIN): %w", err)
	}
	defer func() { _ = process.Release() }()
	abandon := func(err error) error {
		_ = process.Kill()
		_, _ = process.Wait()
		return err
	}
	if err := network.Attach(config.Network, process.Pid); err != nil {
		return abandon(err)
	}
	if err := record(l, process.Pid); err != nil {
		return abandon(err)
	}
	if _, err := goAhead.Write([]byte{1}); err != nil {
		return abandon(fmt.Errorf("let the supervisor go on: %w", err))
	}
	var up, alive bool
	err = poll.Until(ctx, pollEvery, 10*time.Second, func() bool {
		_, err := Status(ctx, l)
		up = err == nil
		_, alive = Running(l)
		return up || !alive
	})
	if err != nil || !up {
		return fmt.Errorf("the supervisor did not come up, see %s: %w", l.Log("supervisor"), cmp.Or(err, errEnded))
	}
	return nil
}

func record(l Layout, pid int) error {
	started, err := startTime(pid)
	if err != nil {
		return err
	}
	return os.WriteFile(l.Record(), fmt.Appendf(nil, "%d %s\n", pid, started), 0o600)
}

// Running returns the supervisor's pid on the host. The start time in the
// record tells it from a process that got the same number later.
func Running(l Layout) (int, bool) {
	data, err := os.ReadFile(l.Record())
	if err != nil {
		return 0, false
	}
	fields := strings.Fields(string(data))
	if len(fields) != 2 {
		return 0, false
	}
	pid, err := strconv.Atoi(fields[0])
	if err != nil {
		return 0, false
	}
	started, err := startTime(pid)
	return pid, err == nil && started == fields[1]
}

// startTime is field 22 of /proc/<pid>/stat; a zombie has none here, as it is gone for our purposes.
func startTime(pid int) (string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	_, after, ok := strings.Cut(string(data), ") ")
	fields := strings.Fields(after)
	if !ok || len(fields) < 20 {
		return "", fmt.Errorf("process %d: unexpected stat", pid)
	}
	if fields[0] == "Z" || fields[0] == "X" {
		return "", fmt.Errorf("process %d has ended", pid)
	}
	return fields[19], nil
}

// kill ends the box and waits until its supervisor, and with it everything inside, is gone.
func kill(ctx context.Context, pid int) error {
	started, err := startTime(pid)
	if err != nil {
		return nil //nolint:nilerr // gone already
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill the supervisor (pid %d): %w", pid, err)
	}
	err = poll.Until(ctx, pollEvery, 30*time.Second, func() bool {
		now, err := startTime(pid)
		return err != nil || now != started
	})
	if err != nil {
		return fmt.Errorf("the supervisor (pid %d) does not die, a process in it may hang in the kernel, see dmesg: %w", pid, err)
	}
	return nil
}

// Stop kills the box and removes its cgroups, and says what it removed.
func Stop(ctx context.Context, l Layout) (removed []string, err error) {
	if pid, ok := Running(l); ok {
		if err := kill(ctx, pid); err != nil {
			return nil, err
		}
		removed = append(removed, fmt.Sprintf("supervisor (pid %d) with all its processes, mounts, interfaces and packet filter rules", pid))
	}
	swept, err := Sweep(ctx, l)
	return append(removed, swept...), err
}

// Sweep removes what a dead box left: strays in its cgroups, the cgroups, the link.
func Sweep(ctx context.Context, l Layout) (removed []string, err error) {
	hierarchies, err := cgroup.Hierarchies()
	if err != nil {
		return nil, err
	}
	for _, pid := range lingering(ctx, hierarchies) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err == nil {
			removed = append(removed, fmt.Sprintf("stray process %d", pid))
		}
	}
	groups, err := cgroup.Remove(ctx, hierarchies, Group, 10*time.Second)
	if len(groups) > 0 {
		removed = append(removed, fmt.Sprintf("%d cgroups below %s/*/%s", len(groups), cgroup.Root, Group))
	}
	if err != nil {
		return removed, err
	}
	if err := os.Remove(l.Record()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return removed, err
	}
	return removed, network.Detach(ctx, 2*time.Second)
}

// lingering returns the processes in the box's cgroups that do not die by
// themselves within two seconds.
func lingering(ctx context.Context, hierarchies []cgroup.Hierarchy) (pids []int) {
	_ = poll.Until(ctx, pollEvery, 2*time.Second, func() bool {
		pids = cgroup.Processes(hierarchies, Group)
		return len(pids) == 0
	}) // what is left when the time is over is the answer
	return pids
}

// Purge removes the state directory. It refuses while anything is mounted
// below, so that it never deletes through a mount.
func Purge(l Layout) (removed bool, err error) {
	if _, err := os.Lstat(l.Dir); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if len(fields) > 4 && strings.HasPrefix(fields[4], filepath.Clean(l.Dir)+"/") {
			return false, fmt.Errorf("%s is a mount point: unmount it, then run down again", fields[4])
		}
	}
	return true, os.RemoveAll(l.Dir)
}

// Leftovers lists what should not be there when no box runs.
func Leftovers(l Layout) ([]string, error) {
	var left []string
	hierarchies, err := cgroup.Hierarchies()
	if err != nil {
		return nil, err
	}
	for _, h := range hierarchies {
		if dir := filepath.Join(h.Mount, Group); exists(dir) {
			left = append(left, dir)
		}
	}
	if network.Present() {
		left = append(left, "the network link to the box")
	}
	if exists(l.Dir) {
		left = append(left, l.Dir)
	}
	return left, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

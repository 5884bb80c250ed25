package box

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/cgroup"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/files"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/network"
)

// Init is the first half of entering the box: wait for the parent, join the
// cluster's cgroup and make it the root of a cgroup namespace. Unshare works on
// one thread only, hence the exec, which leaves that thread as the process.
func Init(l Layout) error {
	runtime.LockOSThread()
	parent := os.NewFile(3, "parent")
	if n, err := parent.Read(make([]byte, 1)); n != 1 {
		return fmt.Errorf("the parent left before the box was ready: %w", err)
	}
	_ = parent.Close()
	hierarchies, err := cgroup.Hierarchies()
	if err != nil {
		return err
	}
	if err := cgroup.Join(hierarchies, Group); err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("make a cgroup namespace: %w", err)
	}
	return unix.Exec(l.Bin("supervisor"), []string{"trading-cluster", RunCommand, l.Dir}, os.Environ())
}

// Run is the second half: it furnishes the box and supervises until killed.
func Run(l Layout) error {
	config, err := l.ReadConfig()
	if err != nil {
		return fmt.Errorf("read the configuration of the box: %w", err)
	}
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"mounts", func() error { return furnish(l) }},
		{"hostname", func() error { return unix.Sethostname([]byte(config.Hostname)) }},
		{"network", func() error { return network.SetUpBox(config.Network) }},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("set up the %s of the box: %w", step.what, err)
		}
	}
	return newSupervisor(l, config).run()
}

// furnish gives the box its own /proc, /sys, /run, /var/lib and /var/log.
func furnish(l Layout) error {
	hierarchies, err := cgroup.Hierarchies()
	if err != nil {
		return err
	}
	// Private first, so that no mount reaches the host, then shared among the
	// box's own namespaces, as the kubelet expects.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("share mounts inside the box: %w", err)
	}
	const plain = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	for _, m := range []struct {
		kind, target, options string
		flags                 uintptr
	}{
		{"proc", "/proc", "", plain},
		{"sysfs", "/sys", "", plain},
		{"tmpfs", "/run", "mode=755", unix.MS_NOSUID | unix.MS_NODEV},
	} {
		if err := unix.Mount(m.kind, m.target, m.kind, m.flags, m.options); err != nil {
			return fmt.Errorf("mount %s at %s: %w", m.kind, m.target, err)
		}
	}
	if err := cgroup.Mount(hierarchies); err != nil {
		return err
	}
	// Daemons sit in a leaf: v2 forbids processes in a group that delegates controllers.
	if err := cgroup.Join(hierarchies, "daemons"); err != nil {
		return err
	}
	if err := cgroup.Delegate(hierarchies); err != nil {
		return err
	}
	if err := bindVar(l); err != nil {
		return err
	}
	return shieldSysctls()
}

// bindVar puts the box's own directories over /var/lib and /var/log, where
// kubelet, containerd and CNI have paths that no option moves. The state
// directory stays visible at its own path.
func bindVar(l Layout) error {
	if rel, err := filepath.Rel("/var/lib", l.Dir); err == nil && filepath.IsLocal(rel) {
		inner := filepath.Join(l.VarLib(), rel)
		if err := os.MkdirAll(inner, 0o700); err != nil {
			return err
		}
		if err := bind(l.Dir, inner, unix.MS_REC); err != nil {
			return err
		}
	}
	if err := bind(l.VarLib(), "/var/lib", unix.MS_REC); err != nil {
		return err
	}
	return bind(l.VarLog(), "/var/log", 0)
}

func bind(from, to string, flags uintptr) error {
	if err := unix.Mount(from, to, "", unix.MS_BIND|flags, ""); err != nil {
		return fmt.Errorf("bind %s to %s: %w", from, to, err)
	}
	return nil
}

// shieldSysctls shows the kubelet the kernel settings that it would otherwise
// write into the host's kernel, where they would outlive the cluster.
func shieldSysctls() error {
	const dir = "/run/sysctl"
	if err := files.MakeDir(dir); err != nil {
		return err
	}
	for name, value := range map[string]string{
		"vm/overcommit_memory":      "1",
		"vm/panic_on_oom":           "0",
		"kernel/panic":              "10",
		"kernel/panic_on_oops":      "1",
		"kernel/keys/root_maxkeys":  "1000000",
		"kernel/keys/root_maxbytes": "25000000",
	} {
		shield := filepath.Join(dir, filepath.Base(name))
		// As readable as the settings themselves.
		if err := files.Replace(shield, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		target := filepath.Join("/proc/sys", name)
		if _, err := os.Stat(target); errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err := bind(shield, target, 0); err != nil {
			return err
		}
	}
	return nil
}

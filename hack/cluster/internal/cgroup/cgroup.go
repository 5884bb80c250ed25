// Package cgroup keeps everything the cluster runs inside one group of each of
// the host's cgroup hierarchies, v1, v2 or both, so that removing the cluster
// is removing these groups.
package cgroup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/files"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/poll"
)

// Root is where every hierarchy is mounted, on the host and in the box.
const Root = "/sys/fs/cgroup"

// Hierarchy is one mounted cgroup tree.
type Hierarchy struct {
	Mount   string // mount point
	V2      bool
	Options string // v1: its controllers, or name=systemd
}

// Hierarchies reads the mounted hierarchies below Root.
func Hierarchies() ([]Hierarchy, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	hierarchies, err := parse(f)
	if err == nil && len(hierarchies) == 0 {
		err = fmt.Errorf("no cgroup hierarchy is mounted below %s: mount cgroup2 there", Root)
	}
	return hierarchies, err
}

// parse reads mountinfo: "id parent dev root mountpoint options [tags] - fstype source superoptions".
func parse(r io.Reader) ([]Hierarchy, error) {
	var found []Hierarchy
	scanner := bufio.NewScanner(r)
	for scanner.Scan() {
		before, after, ok := strings.Cut(scanner.Text(), " - ")
		head, tail := strings.Fields(before), strings.Fields(after)
		if !ok || len(head) < 5 || len(tail) < 3 {
			continue
		}
		mount := head[4]
		if mount != Root && !strings.HasPrefix(mount, Root+"/") {
			continue
		}
		switch tail[0] {
		case "cgroup2":
			found = append(found, Hierarchy{Mount: mount, V2: true})
		case "cgroup":
			options := slices.DeleteFunc(strings.Split(tail[2], ","), func(o string) bool {
				return o == "rw" || o == "ro" || o == "xattr" || strings.HasPrefix(o, "release_agent=") || o == "clone_children"
			})
			found = append(found, Hierarchy{Mount: mount, Options: strings.Join(options, ",")})
		}
	}
	return found, scanner.Err()
}

// Unified reports whether the host uses cgroup v2 alone.
func Unified(hierarchies []Hierarchy) bool {
	return slices.ContainsFunc(hierarchies, func(h Hierarchy) bool { return h.V2 && h.Mount == Root })
}

// Join puts the calling process into group, created where it is missing.
func Join(hierarchies []Hierarchy, group string) error {
	for _, h := range hierarchies {
		if err := h.join(group); err != nil {
			return fmt.Errorf("join cgroup %s: %w", filepath.Join(h.Mount, group), err)
		}
	}
	return nil
}

func (h Hierarchy) join(group string) error {
	root, err := os.OpenRoot(h.Mount)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	if err := root.Mkdir(group, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := inheritCPUSet(root, group); err != nil {
		return err
	}
	return root.WriteFile(filepath.Join(group, "cgroup.procs"), []byte("0"), 0)
}

// inheritCPUSet fills a v1 cpuset, which starts empty and accepts no process until it is set.
func inheritCPUSet(root *os.Root, group string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		if _, err := root.Stat(filepath.Join(group, file)); err != nil {
			continue
		}
		value, err := root.ReadFile(file)
		if err != nil || len(strings.TrimSpace(string(value))) == 0 {
			continue // v2's root has none, and its children inherit by themselves
		}
		if err := root.WriteFile(filepath.Join(group, file), value, 0); err != nil {
			return fmt.Errorf("set %s: %w", file, err)
		}
	}
	return nil
}

// Mount mounts the hierarchies anew at Root. In a fresh cgroup namespace they
// show the cluster's own group as their root.
func Mount(hierarchies []Hierarchy) error {
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if Unified(hierarchies) {
		return mountAt("cgroup2", Root, flags, "")
	}
	if err := mountAt("tmpfs", Root, flags, "mode=755"); err != nil {
		return err
	}
	for _, h := range hierarchies {
		if err := files.MakeDir(h.Mount); err != nil {
			return err
		}
		kind, options := "cgroup", h.Options
		if h.V2 {
			kind, options = "cgroup2", ""
		} else if strings.HasPrefix(options, "name=") {
			options = "none," + options
		}
		if err := mountAt(kind, h.Mount, flags, options); err != nil {
			return err
		}
		linkControllers(h)
	}
	return nil
}

func mountAt(kind, target string, flags uintptr, options string) error {
	if err := unix.Mount(kind, target, kind, flags, options); err != nil {
		return fmt.Errorf("mount %s (%s) at %s: %w", kind, options, target, err)
	}
	return nil
}

// linkControllers makes the customary links of a hierarchy of several controllers (cpu -> cpu,cpuacct).
func linkControllers(h Hierarchy) {
	base := filepath.Base(h.Mount)
	if !strings.Contains(base, ",") {
		return
	}
	for controller := range strings.SplitSeq(base, ",") {
		_ = os.Symlink(base, filepath.Join(Root, controller)) // a convenience: nothing depends on it
	}
}

// Delegate enables all controllers of a v2 root for its children.
func Delegate(hierarchies []Hierarchy) error {
	if !Unified(hierarchies) {
		return nil
	}
	data, err := os.ReadFile(filepath.Join(Root, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for controller := range strings.FieldsSeq(string(data)) {
		if err := os.WriteFile(filepath.Join(Root, "cgroup.subtree_control"), []byte("+"+controller), 0); err != nil {
			return fmt.Errorf("enable cgroup controller %s: %w", controller, err)
		}
	}
	return nil
}

// Processes returns the pids in group and below it, without duplicates.
func Processes(hierarchies []Hierarchy, group string) []int {
	var pids []int
	for _, h := range hierarchies {
		mount := os.DirFS(h.Mount)
		_ = fs.WalkDir(mount, group, func(dir string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return nil //nolint:nilerr // a group that vanishes while we look has no processes
			}
			data, _ := fs.ReadFile(mount, path.Join(dir, "cgroup.procs"))
			for field := range strings.FieldsSeq(string(data)) {
				if pid, err := strconv.Atoi(field); err == nil && pid > 0 && !slices.Contains(pids, pid) {
					pids = append(pids, pid)
				}
			}
			return nil
		})
	}
	return pids
}

// Remove removes group and all below it in every hierarchy and returns the
// directories removed. Processes must be gone or dying: it retries until wait is over.
func Remove(ctx context.Context, hierarchies []Hierarchy, group string, wait time.Duration) ([]string, error) {
	var removed []string
	for _, h := range hierarchies {
		top := filepath.Join(h.Mount, group)
		var last error
		err := poll.Until(ctx, 20*time.Millisecond, wait, func() bool {
			var gone []string
			gone, last = removeTree(top)
			removed = append(removed, gone...)
			return last == nil
		})
		if err != nil {
			return removed, fmt.Errorf("remove cgroup %s: %w", top, errors.Join(err, last))
		}
	}
	return removed, nil
}

// removeTree removes the directories of a cgroup depth first; its files go with them.
func removeTree(top string) (removed []string, err error) {
	var dirs []string
	walkErr := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	if walkErr != nil {
		return nil, walkErr
	}
	for _, dir := range slices.Backward(dirs) {
		if err := unix.Rmdir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return removed, &fs.PathError{Op: "rmdir", Path: dir, Err: err}
		}
		removed = append(removed, dir)
	}
	return removed, nil
}

package cgroup

import (
	_ "embed"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

//go:embed testdata/hybrid.mountinfo
var hybrid string

//go:embed testdata/unified.mountinfo
var unified string

func TestParse(t *testing.T) {
	for name, test := range map[string]struct {
		mountinfo string
		want      []Hierarchy
		unified   bool
	}{
		"v1 beside an empty v2": {hybrid, []Hierarchy{
			{Mount: "/sys/fs/cgroup/cpu,cpuacct", Options: "cpu,cpuacct"},
			{Mount: "/sys/fs/cgroup/systemd", Options: "name=systemd"},
			{Mount: "/sys/fs/cgroup/unified", V2: true},
		}, false},
		"v2 alone": {unified, []Hierarchy{{Mount: "/sys/fs/cgroup", V2: true}}, true},
		"none":     {"28 1 254:0 / / rw - ext4 /dev/vda rw\n", nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parse(strings.NewReader(test.mountinfo))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
			if Unified(got) != test.unified {
				t.Errorf("unified: got %v, want %v", Unified(got), test.unified)
			}
		})
	}
}

func TestRemoveOfAbsentGroupIsQuiet(t *testing.T) {
	removed, err := Remove(t.Context(), []Hierarchy{{Mount: t.TempDir()}}, "absent", time.Second)
	if err != nil || len(removed) > 0 {
		t.Errorf("got %v, %v", removed, err)
	}
}

func TestJoinFillsTheCPUSet(t *testing.T) {
	mount := t.TempDir()
	if err := os.Mkdir(filepath.Join(mount, "group"), 0o750); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"cpuset.cpus": "0-1\n", "cpuset.mems": "0\n",
		"group/cpuset.cpus": "", "group/cpuset.mems": "", "group/cgroup.procs": "1\n2\n",
	} {
		if err := os.WriteFile(filepath.Join(mount, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	hierarchies := []Hierarchy{{Mount: mount}}
	if pids := Processes(hierarchies, "group"); !slices.Equal(pids, []int{1, 2}) {
		t.Errorf("processes: %v", pids)
	}
	if err := Join(hierarchies, "group"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"group/cpuset.cpus": "0-1\n", "group/cpuset.mems": "0\n", "group/cgroup.procs": "0"} {
		if got, err := fs.ReadFile(os.DirFS(mount), name); err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
		}
	}
}

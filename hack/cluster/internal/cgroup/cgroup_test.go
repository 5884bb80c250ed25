package cgroup

import (
	"slices"
	"strings"
	"testing"
	"time"
)

const hybrid = `28 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 28 0:25 / /sys/fs/cgroup rw,relatime shared:4 - tmpfs tmpfs rw,mode=755
31 30 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:5 - cgroup cgroup rw,cpu,cpuacct
32 30 0:27 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,release_agent=/lib/systemd/agent,name=systemd
33 30 0:28 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
34 28 0:29 / /mnt/elsewhere rw - cgroup cgroup rw,memory
`

const unified = `30 28 0:25 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate
`

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

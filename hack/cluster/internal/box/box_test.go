package box

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"syscall"
	"testing"

	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/network"
)

func TestRunningFindsProgramsByTheirExecutable(t *testing.T) {
	proc := t.TempDir()
	for pid, exe := range map[int]string{
		1: "/var/lib/trading-cluster/bin/supervisor", 20: "/trading-agent", 21: "/trading-agent (deleted)", 22: "/usr/bin/trading-agent-helper",
	} {
		dir := filepath.Join(proc, strconv.Itoa(pid))
		if err := os.Mkdir(dir, 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(exe, filepath.Join(dir, "exe")); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(proc, "sys"), 0o750); err != nil {
		t.Fatal(err)
	}
	pids, err := running(proc, "trading-agent")
	slices.Sort(pids)
	if err != nil || !slices.Equal(pids, []int{20, 21}) {
		t.Errorf("got %v, %v", pids, err)
	}
}

func TestRecordTellsAProcessFromItsSuccessor(t *testing.T) {
	l := Layout{Dir: t.TempDir()}
	if _, ok := Running(l); ok {
		t.Error("a box runs without a record")
	}
	if err := record(l, os.Getpid()); err != nil {
		t.Fatal(err)
	}
	if pid, ok := Running(l); !ok || pid != os.Getpid() {
		t.Errorf("got %d, %v", pid, ok)
	}
	// The same pid, started at another time, is another process.
	if err := os.WriteFile(l.Record(), []byte(strconv.Itoa(os.Getpid())+" 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok := Running(l); ok {
		t.Error("a process with a reused pid counts as the box")
	}
}

func TestConfigSurvivesItsFile(t *testing.T) {
	l := Layout{Dir: t.TempDir()}
	plan, err := network.ChoosePlan()
	if err != nil {
		t.Fatal(err)
	}
	want := Config{Hostname: "desk", Network: plan, Processes: []Process{{Name: "etcd", Args: []string{"/bin/etcd", "-x"}, After: []string{"tcp://127.0.0.1:1"}}}}
	if err := l.writeConfig(want); err != nil {
		t.Fatal(err)
	}
	got, err := l.ReadConfig()
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; `up` would restart a box that has not changed", got, err)
	}
}

func TestDescribeNamesTheSignal(t *testing.T) {
	if got := describe(syscall.WaitStatus(9)); got != "killed by SIGKILL" {
		t.Errorf("got %q", got)
	}
	if got := describe(syscall.WaitStatus(3 << 8)); got != "exit status 3" {
		t.Errorf("got %q", got)
	}
}

func TestPodsCanPassThroughTheStateDirectory(t *testing.T) {
	l := Layout{Dir: filepath.Join(t.TempDir(), "state")}
	for range 2 {
		if err := l.Make(); err != nil {
			t.Fatal(err)
		}
	}
	for dir, want := range map[string]os.FileMode{"": 0o711, "data": 0o711, "pki": 0o700, "etc": 0o700, "bin": 0o700} {
		info, err := os.Stat(filepath.Join(l.Dir, dir))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%q has mode %o, want %o", dir, got, want)
		}
	}
}

func TestLogIsAppendedAndTurnedOver(t *testing.T) {
	l := Layout{Dir: t.TempDir()}
	if err := l.Make(); err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		t.Helper()
		log, err := l.openLog("etcd")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := log.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
	}
	write("first")
	write("second")
	if data, err := os.ReadFile(l.Log("etcd")); err != nil || string(data) != "firstsecond" {
		t.Errorf("got %q, %v", data, err)
	}
	if err := os.Truncate(l.Log("etcd"), maxLog+1); err != nil {
		t.Fatal(err)
	}
	write("third")
	if data, err := os.ReadFile(l.Log("etcd")); err != nil || string(data) != "third" {
		t.Errorf("after the turn: got %q, %v", data, err)
	}
	if old, err := os.Stat(l.Log("etcd") + ".old"); err != nil || old.Size() != maxLog+1 {
		t.Errorf("the old log: %v, %v", old, err)
	}
}

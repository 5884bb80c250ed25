// Package box runs the cluster's processes in PID, mount, network, UTS, IPC and
// cgroup namespaces of their own, under a supervisor that is PID 1 there. When
// the supervisor dies, for whatever reason, the kernel ends every process and
// removes every mount, interface and packet filter rule of the cluster.
package box

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/files"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/network"
)

const (
	// Group is the cluster's cgroup in every hierarchy of the host.
	Group = "trading-cluster"
	// InitCommand is the hidden argument with which the binary enters the box.
	InitCommand = "box-init"
	// RunCommand is that of the second half, after joining the cgroups.
	RunCommand = "box-run"
)

// Config is everything the box needs to know; it is stored in its state directory.
type Config struct {
	Hostname  string       `json:"hostname"`
	Network   network.Plan `json:"network"`
	Processes []Process    `json:"processes"`
	// Supervisor is the hash of the supervisor's program; Start sets it.
	Supervisor string `json:"supervisor"`
	// Client is the certificate that https probes present; CA is what they trust.
	Client Credentials `json:"client"`
}

// Credentials are paths of PEM files.
type Credentials struct {
	CA   string `json:"ca"`
	Cert string `json:"cert"`
	Key  string `json:"key"`
}

// Process is one supervised daemon.
type Process struct {
	Name string   `json:"name"`
	Args []string `json:"args"` // Args[0] is the absolute path of the program
	Env  []string `json:"env,omitempty"`
	// After lists what must answer before each start:
	// tcp://host:port, unix:///path or https://host:port/path.
	After []string `json:"after,omitempty"`
}

// Layout names the files of a state directory.
type Layout struct{ Dir string }

func (l Layout) join(elem ...string) string {
	return filepath.Join(append([]string{l.Dir}, elem...)...)
}

// Config is the stored configuration of the box that was started last.
func (l Layout) Config() string { return l.join("box.json") }

// Record holds the pid and start time of the supervisor.
func (l Layout) Record() string { return l.join("box.pid") }

// Control is the supervisor's unix socket.
func (l Layout) Control() string { return l.join("run", "supervisor.sock") }

// Bin holds the programs of the running cluster.
func (l Layout) Bin(name string) string { return l.join("bin", name) }

// Run holds the sockets that the host shares with the box.
func (l Layout) Run(name string) string { return l.join("run", name) }

// Log is the log file of a process.
func (l Layout) Log(name string) string { return l.join("log", name+".log") }

// Etc holds generated configuration.
func (l Layout) Etc(name string) string { return l.join("etc", name) }

// PKI is the directory of certificates.
func (l Layout) PKI() string { return l.join("pki") }

// Data is a directory of persistent data (etcd, containerd, volumes).
func (l Layout) Data(name string) string { return l.join("data", name) }

// VarLib and VarLog are what the box sees at /var/lib and /var/log.
func (l Layout) VarLib() string { return l.join("box", "lib") }

// VarLog is described at VarLib.
func (l Layout) VarLog() string { return l.join("box", "log") }

// Make creates the directories.
func (l Layout) Make() error {
	for _, dir := range []string{"bin", "run", "log", "etc", "pki", "data", "box/lib", "box/log"} {
		if err := os.MkdirAll(l.join(dir), 0o700); err != nil {
			return fmt.Errorf("create the state directory (root is needed): %w", err)
		}
	}
	root, err := os.OpenRoot(l.Dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	// Pods reach their volumes through the state directory as users of their own.
	for _, dir := range []string{".", "data"} {
		if err := root.Chmod(dir, 0o711); err != nil {
			return err
		}
	}
	return nil
}

// ReadConfig reads the stored configuration.
func (l Layout) ReadConfig() (Config, error) {
	var config Config
	data, err := os.ReadFile(l.Config())
	if err != nil {
		return config, err
	}
	if err := json.Unmarshal(data, &config); err != nil {
		return config, fmt.Errorf("%s: %w", l.Config(), err)
	}
	return config, nil
}

func (l Layout) writeConfig(config Config) error {
	data, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return err
	}
	return files.Replace(l.Config(), data, 0o600)
}

// Package apt looks for the few system packages that the cluster needs and
// installs them where it can: on Debian and its relatives, as root.
package apt

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/files"
	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/program"
)

// Requirement is satisfied when a program is in the PATH or a file matches.
type Requirement struct {
	Package string // Debian's name
	Program string
	File    string // glob
	For     string
}

// Base is what the local cluster needs besides Go.
var Base = []Requirement{
	{Package: "gcc", Program: "gcc", For: "building runc"},
	{Package: "libc6-dev", File: "/usr/include/stdlib.h", For: "building runc"},
	{Package: "pkg-config", Program: "pkg-config", For: "building runc"},
	{Package: "libseccomp-dev", File: "/usr/include/seccomp.h", For: "building runc"},
	{Package: "containernetworking-plugins", File: "/usr/lib/cni/ptp", For: "the pods' network"},
	{Package: "nftables", Program: "nft", For: "kube-proxy's services"},
	{Package: "ca-certificates", File: "/etc/ssl/certs/ca-certificates.crt", For: "TLS inside the images"},
}

// Postgres is what the database's image is assembled from.
var Postgres = []Requirement{
	{Package: "postgresql", File: "/usr/lib/postgresql/*/bin/initdb", For: "the ledger's database"},
	{Package: "postgresql-client", File: "/usr/lib/postgresql/*/bin/pg_isready", For: "the ledger's database"},
	{Package: "tzdata", File: "/usr/share/zoneinfo/UTC", For: "the ledger's database"},
}

// Judges are what the tests of the TLS chain ask for their opinion.
var Judges = []Requirement{
	{Package: "curl", Program: "curl", For: "the tests of the TLS chain"},
	{Package: "chromium", Program: "chromium", For: "the tests of the TLS chain"},
	{Package: "libnss3-tools", Program: "certutil", For: "the roots that Chromium trusts"},
}

// Missing returns the requirements that are not met.
func Missing(all []Requirement) []Requirement {
	var missing []Requirement
	for _, r := range all {
		if !r.met() {
			missing = append(missing, r)
		}
	}
	return missing
}

func (r Requirement) met() bool {
	if r.Program != "" {
		for _, dir := range []string{"", "/usr/sbin", "/sbin"} { // "" is the PATH
			if _, err := exec.LookPath(filepath.Join(dir, r.Program)); err == nil {
				return true
			}
		}
		return false
	}
	matches, err := filepath.Glob(r.File)
	return err == nil && len(matches) > 0
}

// Install installs what is missing, or says what a person has to install.
func Install(ctx context.Context, missing []Requirement) error {
	if len(missing) == 0 {
		return nil
	}
	var names, reasons []string
	for _, r := range missing {
		names = append(names, r.Package)
		reasons = append(reasons, fmt.Sprintf("  %-30s for %s", r.Package, r.For))
	}
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		return fmt.Errorf("install these system packages (Debian's names) and run this again:\n%s", strings.Join(reasons, "\n"))
	}
	defer withoutServices()()
	if err := run(ctx, append([]string{"install"}, names...)...); err == nil {
		return nil
	}
	// Package lists may be absent or out of date.
	if err := run(ctx, "update"); err != nil {
		return err
	}
	return run(ctx, append([]string{"install"}, names...)...)
}

// withoutServices keeps PostgreSQL's package from starting a database on this
// machine, which only lends its files; the returned function undoes it.
func withoutServices() func() {
	const path = "/etc/postgresql-common/createcluster.d/trading-cluster.conf"
	if files.MakeDir(filepath.Dir(path)) != nil || files.Replace(path, []byte("create_main_cluster = false\n"), 0o644) != nil {
		return func() {}
	}
	return func() { _ = os.Remove(path) }
}

func run(ctx context.Context, args ...string) error {
	cmd := program.Command(ctx, "apt-get", append([]string{"--yes", "--no-install-recommends"}, args...)...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	return program.Run(cmd, "apt-get "+strings.Join(args, " "))
}

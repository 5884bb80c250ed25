// Command postgres-init is the entry point of the local cluster's PostgreSQL
// image: it makes the database cluster the first time, in a directory that
// takes its final name only when it is complete, and becomes postgres.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/three-rivers-tech/trading-operator/hack/cluster/internal/program"
)

// mount is where the pod mounts the passwords.
const mount = "/run/secrets/postgres"

func main() {
	bin, data := os.Getenv("PGBIN"), os.Getenv("PGDATA")
	if bin == "" || data == "" {
		fail(errors.New("PGBIN and PGDATA must be set"))
	}
	if err := ensure(bin, data); err != nil {
		fail(fmt.Errorf("create the database: %w", err))
	}
	postgres := filepath.Join(bin, "postgres")
	fail(unix.Exec(postgres, []string{postgres, "-D", data}, os.Environ()))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "postgres-init:", err)
	os.Exit(1)
}

// ensure creates the database in data unless it is there.
func ensure(bin, data string) error {
	volume, err := os.OpenRoot(filepath.Dir(data))
	if err != nil {
		return err
	}
	defer func() { _ = volume.Close() }()
	name := filepath.Base(data)
	if _, err := volume.Stat(filepath.Join(name, "PG_VERSION")); !errors.Is(err, fs.ErrNotExist) {
		return nil // if it is damaged, postgres itself says best how
	}
	return create(bin, volume, name)
}

// create initialises the directory name of volume with role agent and its
// database trading.
func create(bin string, volume *os.Root, name string) error {
	temp := name + ".new"
	if err := volume.RemoveAll(temp); err != nil {
		return err
	}
	password, err := os.ReadFile(filepath.Join(mount, "agent-password"))
	if err != nil {
		return err
	}
	if bytes.ContainsAny(password, "'\\\n") {
		return errors.New("agent-password must not contain quotes, backslashes or line breaks")
	}
	ctx, temporary := context.Background(), filepath.Join(volume.Name(), temp)
	initdb := program.Command(ctx, filepath.Join(bin, "initdb"), "--pgdata="+temporary, "--username=postgres",
		"--pwfile="+filepath.Join(mount, "postgres-password"), "--auth=scram-sha-256",
		"--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums")
	if err := run(initdb); err != nil {
		return err
	}
	if err := extend(volume, filepath.Join(temp, "pg_hba.conf"), "host all all 0.0.0.0/0 scram-sha-256\nhost all all ::/0 scram-sha-256\n"); err != nil { //nolint:dupword // database and user
		return err
	}
	settings := "listen_addresses = '*'\nunix_socket_directories = '/tmp'\npassword_encryption = 'scram-sha-256'\n" +
		"shared_buffers = '64MB'\nmax_connections = 200\nlog_checkpoints = off\n"
	if err := extend(volume, filepath.Join(temp, "postgresql.conf"), settings); err != nil {
		return err
	}
	single := program.Command(ctx, filepath.Join(bin, "postgres"), "--single", "-D", temporary, "postgres")
	single.Stdin = strings.NewReader("CREATE ROLE agent LOGIN PASSWORD '" + string(password) + "'\n" +
		"CREATE DATABASE trading OWNER agent\n")
	if err := run(single); err != nil {
		return err
	}
	return volume.Rename(temp, name)
}

func extend(volume *os.Root, file, text string) error {
	f, err := volume.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(text); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

func run(cmd *exec.Cmd) error {
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(cmd.Path), err)
	}
	return nil
}

// Command postgres-init is the entry point of the local cluster's PostgreSQL
// image: it makes the database cluster the first time, in a directory that
// takes its final name only when it is complete, and becomes postgres.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// secrets is where the pod mounts the passwords.
const secrets = "/run/secrets/postgres"

func main() {
	bin, data := os.Getenv("PGBIN"), os.Getenv("PGDATA")
	if bin == "" || data == "" {
		fail(errors.New("PGBIN and PGDATA must be set"))
	}
	if _, err := os.Stat(filepath.Join(data, "PG_VERSION")); os.IsNotExist(err) {
		if err := create(bin, data); err != nil {
			fail(fmt.Errorf("create the database: %w", err))
		}
	}
	postgres := filepath.Join(bin, "postgres")
	fail(syscall.Exec(postgres, []string{postgres, "-D", data}, os.Environ()))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "postgres-init:", err)
	os.Exit(1)
}

// create initialises data with role agent and its database trading.
func create(bin, data string) error {
	temp := data + ".new"
	if err := os.RemoveAll(temp); err != nil {
		return err
	}
	password, err := os.ReadFile(filepath.Join(secrets, "agent-password"))
	if err != nil {
		return err
	}
	if bytes.ContainsAny(password, "'\\\n") {
		return errors.New("agent-password must not contain quotes, backslashes or line breaks")
	}
	initdb := exec.Command(filepath.Join(bin, "initdb"), "--pgdata="+temp, "--username=postgres",
		"--pwfile="+filepath.Join(secrets, "postgres-password"), "--auth=scram-sha-256",
		"--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums")
	if err := run(initdb); err != nil {
		return err
	}
	if err := extend(filepath.Join(temp, "pg_hba.conf"), "host all all 0.0.0.0/0 scram-sha-256\nhost all all ::/0 scram-sha-256\n"); err != nil { //nolint:dupword // database and user
		return err
	}
	settings := "listen_addresses = '*'\nunix_socket_directories = '/tmp'\npassword_encryption = 'scram-sha-256'\n" +
		"shared_buffers = '64MB'\nmax_connections = 200\nlog_checkpoints = off\n"
	if err := extend(filepath.Join(temp, "postgresql.conf"), settings); err != nil {
		return err
	}
	single := exec.Command(filepath.Join(bin, "postgres"), "--single", "-D", temp, "postgres")
	single.Stdin = strings.NewReader("CREATE ROLE agent LOGIN PASSWORD '" + string(password) + "'\n" +
		"CREATE DATABASE trading OWNER agent\n")
	if err := run(single); err != nil {
		return err
	}
	return os.Rename(temp, data)
}

func extend(path, text string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
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

// Package postgres starts a real PostgreSQL for tests: one server for a test
// binary, a fresh database for each test. It runs as root, dropping to an
// unprivileged user, and as anybody else, listens on loopback only, and leaves
// nothing behind.
package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// startTimeout is generous: the machine may be busy with other tests.
	startTimeout = 60 * time.Second
	stopTimeout  = 30 * time.Second
	// nobody is the user that a server runs as where the tests run as root:
	// PostgreSQL refuses to be root.
	nobody = 65534
	// sharedMemory is where Linux keeps files in memory, and leastMemory what must
	// be free there, in bytes, for a server to be put into it.
	sharedMemory        = "/dev/shm"
	leastMemory  uint64 = 2 << 30
	admin               = "postgres"
	owner               = "trading"
)

// Options of a server.
type Options struct {
	// Migrate prepares the database that every test's own is copied from. May
	// be nil.
	Migrate func(ctx context.Context, uri string) error
	// NoSync keeps the server's files in memory, where there is room, so that syncing
	// them costs nothing: for tests that do not measure it. The server itself syncs
	// like any other, because a ledger refuses one that does not.
	NoSync bool
	// Settings of the server beyond the usual.
	Settings map[string]string
}

// Server is a PostgreSQL server of this process.
type Server struct {
	options  Options
	bin      string
	dir      string
	port     uint32
	password string

	process *process

	template     sync.Once
	templateErr  error
	databases    atomic.Int64
	templateName string
}

// Run is for TestMain: it starts a server, gives it to the setup, runs the
// tests and stops the server. It returns the code to exit with.
func Run(m *testing.M, options Options, setup func(*Server)) int {
	server, err := Start(options)
	if err != nil {
		fmt.Fprintln(os.Stderr, "starting PostgreSQL for the tests:", err)
		return 1
	}
	setup(server)
	code := m.Run()
	if err := server.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping PostgreSQL after the tests:", err)
		return 1
	}
	return code
}

// Start makes a new server in a directory of its own. Close ends it.
func Start(options Options) (*Server, error) {
	sweep()
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(base(options), fmt.Sprintf("%s%d-", prefix, os.Getpid()))
	if err != nil {
		return nil, err
	}
	s := &Server{options: options, bin: bin, dir: dir, password: rand.Text(), templateName: "migrated"}
	if err := s.create(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) create() error {
	secret := filepath.Join(s.dir, "password")
	if err := os.WriteFile(secret, []byte(s.password), 0o600); err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		for _, path := range []string{s.dir, secret} {
			if err := os.Chown(path, nobody, nobody); err != nil {
				return err
			}
		}
	}
	initdb := s.command("initdb", "--pgdata", s.data(), "--username", admin, "--pwfile", secret,
		"--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	if err := s.StartAgain(); err != nil {
		return err
	}
	return s.admin(fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'", owner, s.password))
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// command runs one of PostgreSQL's programs as an unprivileged user.
func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := program(s.bin, name, args...)
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + s.bin + ":/usr/bin:/bin", "HOME=" + s.dir, "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	dieWithParent(cmd.SysProcAttr)
	return cmd
}

// StartAgain starts a server that was stopped, at the same address.
func (s *Server) StartAgain() error {
	if s.process != nil {
		return errors.New("the server is running")
	}
	var last error
	for range 5 {
		if s.port == 0 {
			port, err := freePort()
			if err != nil {
				return err
			}
			s.port = port
		}
		if last = s.launch(); last == nil {
			return nil
		}
		// Somebody else may have taken the port since it was found free; a
		// server that has served keeps its own.
		if _, err := os.Stat(filepath.Join(s.dir, "served")); err == nil {
			return last
		}
		s.port = 0
	}
	return last
}

func (s *Server) launch() error {
	settings := map[string]string{
		"listen_addresses": "127.0.0.1", "max_connections": "100", "shared_buffers": "32MB",
		"autovacuum": "off", "log_min_messages": "warning", "fsync": "on",
	}
	if s.options.NoSync {
		settings["max_wal_size"] = "128MB"
	}
	maps.Copy(settings, s.options.Settings)
	args := make([]string, 0, len(settings))
	for name, value := range settings {
		args = append(args, "--"+name+"="+value)
	}
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	// The server writes to a file of its own.
	defer func() { _ = log.Close() }()
	cmd := s.command("postgres", append(args, "-D", s.data(), "-p", s.portText(), "-k", s.dir)...)
	cmd.Stdout, cmd.Stderr = log, log
	started, err := run(cmd)
	if err != nil {
		return err
	}
	if err := s.await(started); err != nil {
		err = errors.Join(err, started.stop(syscall.SIGQUIT, stopTimeout))
		out, _ := os.ReadFile(log.Name())
		return fmt.Errorf("the server does not answer: %w\n%s", err, out)
	}
	s.process = started
	return os.WriteFile(filepath.Join(s.dir, "served"), nil, 0o600)
}

// await waits until the server answers or has ended.
func (s *Server) await(started *process) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, s.uri(admin, admin))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-started.ended:
			return fmt.Errorf("it ended: %w", started.err)
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// Stop stops the server. An immediate stop is a crash: connections are cut,
// nothing is written out, and the next start recovers from the log.
func (s *Server) Stop(immediate bool) error {
	if s.process == nil {
		return nil
	}
	how := syscall.SIGINT
	if immediate {
		how = syscall.SIGQUIT
	}
	err := s.process.stop(how, stopTimeout)
	s.process = nil
	return err
}

// Close stops the server for good and removes its data.
func (s *Server) Close() error {
	return errors.Join(s.Stop(true), os.RemoveAll(s.dir))
}

// Addr is the host and port that the server listens on.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", s.portText()) }

func (s *Server) portText() string { return strconv.FormatUint(uint64(s.port), 10) }

func (s *Server) uri(user, database string) string {
	return (&url.URL{
		Scheme: "postgres", User: url.UserPassword(user, s.password), Host: s.Addr(), Path: database,
		RawQuery: "sslmode=disable",
	}).String()
}

// AdminURI connects as superuser.
func (s *Server) AdminURI() string { return s.uri(admin, admin) }

// admin runs a statement as superuser.
func (s *Server) admin(statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.AdminURI())
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(ctx))
}

// Empty gives a test an empty database of its own, owned by an ordinary user,
// and returns its connection URI.
func (s *Server) Empty(tb testing.TB) string {
	tb.Helper()
	return s.database(tb, "template0")
}

// Database gives a test a migrated database of its own, owned by an ordinary
// user, and returns its connection URI.
func (s *Server) Database(tb testing.TB) string {
	tb.Helper()
	s.template.Do(func() { s.templateErr = s.prepare() })
	if s.templateErr != nil {
		tb.Fatal("preparing the database that tests copy:", s.templateErr)
	}
	return s.database(tb, s.templateName)
}

func (s *Server) prepare() error {
	if err := s.admin(fmt.Sprintf("CREATE DATABASE %s TEMPLATE template0 OWNER %s", s.templateName, owner)); err != nil {
		return err
	}
	if s.options.Migrate == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	return s.options.Migrate(ctx, s.uri(owner, s.templateName))
}

func (s *Server) database(tb testing.TB, template string) string {
	tb.Helper()
	name := fmt.Sprintf("test_%d", s.databases.Add(1))
	if err := s.admin(fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s OWNER %s", name, template, owner)); err != nil {
		tb.Fatal("creating a database:", err)
	}
	tb.Cleanup(func() {
		if err := s.admin(fmt.Sprintf("DROP DATABASE %s WITH (FORCE)", name)); err != nil && s.process != nil {
			tb.Error("dropping a database:", err)
		}
	})
	return s.uri(owner, name)
}

// process is a running program. It is started and awaited on one thread,
// because the kernel ends it with that thread.
type process struct {
	pid   int
	ended chan struct{}
	err   error
}

func run(cmd *exec.Cmd) (*process, error) {
	p := &process{ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		p.pid = cmd.Process.Pid
		started <- nil
		p.err = cmd.Wait()
		close(p.ended)
	}()
	return p, <-started
}

// stop signals a process and waits for its end; a process that does not end in
// time is killed with its children.
func (p *process) stop(how syscall.Signal, timeout time.Duration) error {
	_ = syscall.Kill(p.pid, how)
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-p.ended:
		return nil
	case <-timer.C:
		_ = syscall.Kill(-p.pid, syscall.SIGKILL)
		<-p.ended
		return fmt.Errorf("the server did not end within %s of %s and was killed", timeout, how)
	}
}

func freePort() (uint32, error) {
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return 0, err
	}
	address := listener.Addr().(*net.TCPAddr).AddrPort()
	return uint32(address.Port()), listener.Close()
}

// Package rig is what an agent lives in while it is killed: a PostgreSQL, an
// exchange, the line between the two, prices and manifests. Nothing in it is a
// model of the agent; the program that runs is the one that is shipped, with
// failpoints.
package rig

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/shopspring/decimal"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/test/crash/judge"
	"github.com/three-rivers-tech/trading-operator/test/crash/wire"
	"github.com/three-rivers-tech/trading-operator/test/postgres"
)

// Patience is how long the rig waits for what must come.
const Patience = 90 * time.Second

// marketPace is how often the exchange's prices move.
const marketPace = 50 * time.Millisecond

// Exchange is where the orders of a run go. Its own book is the judge.
type Exchange interface {
	// Account is the spec of the TradingAccount, in YAML and indented by two.
	Account() string
	// Direction is what agents on it may do, LongOnly or LongShort.
	Direction() string
	// SetPrice moves its market, where it does not go by the agent's own data.
	SetPrice(base string, price decimal.Decimal)
	// SetLiquid says whether orders are filled or rest, where that does not go by
	// chance.
	SetLiquid(liquid bool)
	// Address is the host and port that the line leads to; empty where there is no
	// line. Reach are the flags that send an agent to the near end of the line; what
	// they name is put into the directory.
	Address() string
	Reach(line, directory string) ([]string, error)
	// Book is everything that it has accepted and executed.
	Book(ctx context.Context, db judge.Querier) (judge.Book, error)
	Close() error
}

// Server is the PostgreSQL of one lane, for one run after another.
type Server struct {
	*postgres.Server
	databases atomic.Int64
}

// StartServer starts a PostgreSQL. Its files are in memory where there is room: what
// it has confirmed must survive its end, not that of the machine.
func StartServer() (*Server, error) {
	server, err := postgres.Start(postgres.Options{NoSync: true})
	if err != nil {
		return nil, err
	}
	return &Server{Server: server}, nil
}

// Database makes an empty database of an ordinary user and returns its URI.
func (s *Server) Database(ctx context.Context) (string, error) {
	name := fmt.Sprintf("run_%d", s.databases.Add(1))
	conn, err := pgx.Connect(ctx, s.AdminURI())
	if err != nil {
		return "", err
	}
	_, err = conn.Exec(ctx, "CREATE DATABASE "+name+" TEMPLATE template0 OWNER trading")
	if err = errors.Join(err, conn.Close(ctx)); err != nil {
		return "", fmt.Errorf("making a database: %w", err)
	}
	uri, err := url.Parse(s.AdminURI())
	if err != nil {
		return "", err
	}
	password, _ := uri.User.Password()
	uri.User, uri.Path = url.UserPassword("trading", password), "/"+name
	return uri.String(), nil
}

// World is one run: an empty database, an exchange and the agents' files.
type World struct {
	Server   *Server
	Exchange Exchange
	// Desk is what the manifests of agents say that are started from now on.
	Desk Desk
	// URI of the database.
	URI string
	DB  *pgxpool.Pool

	program, directory, data string
	stopMarket               func()
	// lines to the exchange and to the database, by the number of the process.
	lines, databases map[int]*wire.Proxy
}

// Options of a World.
type Options struct {
	// Program is the instrumented agent.
	Program string
	// Server and Exchange of the run. The World closes the exchange.
	Server   *Server
	Exchange Exchange
	// Agents that live in it.
	Agents []AgentManifest
	// Seed of the prices, and Speed of their replay.
	Seed  uint64
	Speed int
}

// NewWorld makes a run. Close ends it.
func NewWorld(ctx context.Context, options Options) (*World, error) {
	w := &World{
		Server: options.Server, Exchange: options.Exchange, program: options.Program,
		lines: map[int]*wire.Proxy{}, databases: map[int]*wire.Proxy{}, stopMarket: func() {},
	}
	err := w.prepare(ctx, options)
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

func (w *World) prepare(ctx context.Context, options Options) (err error) {
	if w.directory, err = os.MkdirTemp("", "trading-crash-"); err != nil {
		return err
	}
	w.data = filepath.Join(w.directory, "data")
	if err := os.Mkdir(w.data, 0o700); err != nil {
		return err
	}
	w.Desk = Desk{Agents: options.Agents, Account: w.Exchange.Account(), Direction: w.Exchange.Direction(), Speed: options.Speed}
	if err := WritePrices(w.data, options.Seed, time.Now().UTC().Truncate(24*time.Hour).Add(24*time.Hour)); err != nil {
		return err
	}
	if w.URI, err = w.Server.Database(ctx); err != nil {
		return err
	}
	// Several agents that start at once would otherwise all do it.
	if _, err := ledger.Migrate(ctx, w.URI); err != nil {
		return err
	}
	config, err := pgxpool.ParseConfig(w.URI)
	if err != nil {
		return err
	}
	config.MaxConns = 2
	if w.DB, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return err
	}
	if w.Exchange.Address() != "" {
		w.follow(context.WithoutCancel(ctx))
	}
	return nil
}

// follow moves the exchange's market as the agents' data moves, a little later, as
// it is between a market and those who look at it.
func (w *World) follow(ctx context.Context) {
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	w.stopMarket = func() {
		stop()
		<-ended
	}
	go func() {
		defer close(ended)
		tick := time.NewTicker(marketPace)
		defer tick.Stop()
		for {
			// Without a database the market stands still.
			if prices, err := judge.ReadPrices(ctx, w.DB); err == nil {
				for pair, price := range prices {
					base, _, _ := strings.Cut(pair, "-")
					w.Exchange.SetPrice(base, price)
				}
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
}

// Close ends the exchange and removes the files.
func (w *World) Close() error {
	var problems []error
	w.stopMarket()
	if w.DB != nil {
		w.DB.Close()
	}
	for _, lines := range []map[int]*wire.Proxy{w.lines, w.databases} {
		for _, line := range lines {
			problems = append(problems, line.Close())
		}
	}
	return errors.Join(append(problems, w.Exchange.Close(), os.RemoveAll(w.directory))...)
}

// Line is the line from a process to the exchange; nil where there is none.
func (w *World) Line(process int) *wire.Proxy { return w.lines[process] }

// DatabaseLine is the line from a process to the database, for one that was
// started apart.
func (w *World) DatabaseLine(process int) *wire.Proxy { return w.databases[process] }

// Start starts one of the agents. The number of the process tells two of one agent
// apart; one that follows another has its number.
func (w *World) Start(name string, process int, failpoints string) (*Agent, error) {
	return w.start(name, process, failpoints, w.URI)
}

// StartApart is Start with a line to the database that can be cut.
func (w *World) StartApart(name string, process int, failpoints string) (*Agent, error) {
	uri, err := url.Parse(w.URI)
	if err != nil {
		return nil, err
	}
	if w.databases[process] == nil {
		if w.databases[process], err = wire.ListenRaw(uri.Host); err != nil {
			return nil, err
		}
	}
	uri.Host = w.databases[process].Addr()
	return w.start(name, process, failpoints, uri.String())
}

func (w *World) start(name string, process int, failpoints, uri string) (*Agent, error) {
	directory := filepath.Join(w.directory, fmt.Sprintf("process-%d", process))
	manifests := filepath.Join(directory, "manifests")
	if err := os.MkdirAll(manifests, 0o700); err != nil {
		return nil, err
	}
	desk := w.Desk
	desk.Agents = slices.DeleteFunc(slices.Clone(desk.Agents), func(a AgentManifest) bool { return a.Name != name })
	if err := desk.Write(manifests); err != nil {
		return nil, err
	}
	launch := Launch{
		Program: w.program, Manifests: manifests, Data: w.data, Name: name, LedgerURI: uri,
		Directory: directory, Failpoints: failpoints,
	}
	if address := w.Exchange.Address(); address != "" {
		var err error
		if w.lines[process] == nil {
			if w.lines[process], err = wire.Listen(address); err != nil {
				return nil, err
			}
		}
		if launch.Arguments, err = w.Exchange.Reach(w.lines[process].Addr(), directory); err != nil {
			return nil, err
		}
	}
	return Start(launch)
}

// Judge holds the ledger against the exchange.
func (w *World) Judge(ctx context.Context) (judge.Verdict, error) {
	record, err := judge.ReadLedger(ctx, w.DB)
	if err != nil {
		return judge.Verdict{}, err
	}
	book, err := w.Exchange.Book(ctx, w.DB)
	if err != nil {
		return judge.Verdict{}, err
	}
	return judge.Compare(book, record), nil
}

// Describe tells what the ledger's orders and newest decisions are, for whoever looks
// into a run that went wrong.
func (w *World) Describe(ctx context.Context) string {
	var lines []string
	for _, statement := range []string{
		`SELECT format('%s orders are %s %s', count(*), state, reason) FROM trading.orders GROUP BY state, reason`,
		`SELECT format('%s decisions came to %s', count(*), outcome) FROM trading.decisions GROUP BY outcome`,
		`SELECT format('epoch %s of %s since %s', epoch, agent_uid, acquired_at) FROM trading.leases`,
		`SELECT format('order %s of epoch %s in %s is %s %s, sent %s', i.id, i.epoch, i.pair, o.state, o.reason, o.sent_at)
			FROM trading.orders o JOIN trading.intents i ON i.id = o.id WHERE o.state NOT IN ('Filled', 'Cancelled', 'Rejected') ORDER BY i.ordinal DESC LIMIT 10`,
	} {
		rows, err := w.DB.Query(ctx, statement)
		if err != nil {
			return err.Error()
		}
		found, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err.Error()
		}
		lines = append(lines, found...)
	}
	return strings.Join(lines, "\n")
}

// Ask asks the ledger's database for one number.
func (w *World) Ask(ctx context.Context, statement string, args ...any) (int64, error) {
	var number int64
	err := w.DB.QueryRow(ctx, statement, args...).Scan(&number)
	return number, err
}

// paperExchange is the paper venue, whose book is in the ledger's database.
type paperExchange struct{}

// Paper is the venue that the agent carries in itself: there is no line to it.
func Paper() Exchange { return paperExchange{} }

func (paperExchange) Account() string                        { return PaperAccount }
func (paperExchange) Direction() string                      { return "LongShort" }
func (paperExchange) SetPrice(string, decimal.Decimal)       {}
func (paperExchange) SetLiquid(bool)                         {}
func (paperExchange) Address() string                        { return "" }
func (paperExchange) Reach(string, string) ([]string, error) { return nil, nil }
func (paperExchange) Close() error                           { return nil }

func (paperExchange) Book(ctx context.Context, db judge.Querier) (judge.Book, error) {
	return judge.ReadPaper(ctx, db)
}

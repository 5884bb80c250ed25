package database

import (
	"context"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Source tells the connection URI of a database. It is asked for each new connection,
// so that a password may change while a pool is open. Its errors hold no secret.
type Source func() (string, error)

// Fixed is a URI that stays as it is.
func Fixed(uri string) Source { return func() (string, error) { return uri, nil } }

// access is how a pool gets its connections.
type access struct {
	source Source
	// adapt changes what a URI says; nil changes nothing.
	adapt func(*pgxpool.Config)

	mu sync.Mutex
	// passwords are all that were ever used: an error may tell of an old connection.
	passwords []string
}

// config reads the URI of the moment.
func (a *access) config() (*pgxpool.Config, error) {
	uri, err := a.source()
	if err != nil {
		return nil, err
	}
	config, err := Config(uri)
	if err != nil {
		return nil, err
	}
	if a.adapt != nil {
		a.adapt(config)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if password := config.ConnConfig.Password; !slices.Contains(a.passwords, password) {
		a.passwords = append(a.passwords, password)
	}
	return config, nil
}

// renew has a connection made by the URI of the moment. While that cannot be read the
// pool keeps to what it was, and the server has the last word.
func (a *access) renew(_ context.Context, connection *pgx.ConnConfig) error {
	if config, err := a.config(); err == nil {
		*connection = *config.ConnConfig
	}
	return nil
}

// hider removes whatever secrets the pool has had.
func (a *access) hider() hider {
	a.mu.Lock()
	defer a.mu.Unlock()
	return newHider(a.passwords...)
}

package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// patience bounds one call of the resolver.
const patience = 5 * time.Second

// Resolver publishes to the management port of pebble-challtestsrv.
type Resolver struct {
	URL string
}

// Publish makes contents the TXT records of name. The resolver can only forget
// all of a name and add one, so for a moment some are missing.
func (r Resolver) Publish(ctx context.Context, name string, contents []string) error {
	if err := r.post(ctx, "/clear-txt", map[string]string{"host": name + "."}); err != nil {
		return err
	}
	for _, content := range contents {
		if err := r.post(ctx, "/set-txt", map[string]string{"host": name + ".", "value": content}); err != nil {
			return err
		}
	}
	return nil
}

func (r Resolver) post(ctx context.Context, path string, body map[string]string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.URL+path, bytes.NewReader(data))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		text, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
		if err != nil {
			return err
		}
		return fmt.Errorf("resolver: %s answers %s: %s", path, response.Status, text)
	}
	return nil
}

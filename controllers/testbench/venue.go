package testbench

import (
	"errors"
	"net/http"
	"net/url"
	"sync"
)

// Venue is the way to every venue on the bench. It leads nowhere until a test
// connects it.
type Venue struct {
	mu     sync.Mutex
	target *url.URL
}

// Connect has requests go to an address from now on, such as that of a simulated
// exchange; an empty one disconnects.
func (v *Venue) Connect(address string) error {
	target, err := url.Parse(address)
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.target = nil
	if address != "" {
		v.target = target
	}
	return nil
}

// RoundTrip sends a request where the test wants it.
func (v *Venue) RoundTrip(request *http.Request) (*http.Response, error) {
	v.mu.Lock()
	target := v.target
	v.mu.Unlock()
	if target == nil {
		return nil, errors.New("the bench has no venue")
	}
	request = request.Clone(request.Context())
	request.URL.Scheme, request.URL.Host = target.Scheme, target.Host
	return http.DefaultTransport.RoundTrip(request)
}

//go:build faults

package faults

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// errCrashed is the answer to every call of an operator that has died.
var errCrashed = errors.New("the operator has crashed")

// transport is one operator's way to the API server. It counts the calls that
// may change something and dies at one of them.
type transport struct {
	next http.RoundTripper
	// view disturbs what the operator sees; nil leaves it as it is.
	view *view

	mu      sync.Mutex
	dead    bool
	crashed chan struct{}
	// fault numbers the writes from when it is set.
	fault  *fault
	writes []string
	// events counts the operator's Events as writes too.
	events bool
	// careless are deletions that do not leave a process its time to end, or that
	// name no UID.
	careless []string
	latest   time.Time
}

// fault is what happens at an operator's writes.
type fault struct {
	// crashAt is the number of the write to die at, from 1; 0 never dies.
	crashAt int
	// lost tells whether the write takes effect and only its answer is lost.
	lost bool
	// onWrite is told the number of each write before it is made, and 0 when the
	// scenario begins; nil for nobody.
	onWrite func(int)
}

func newTransport(v *view, f *fault) *transport {
	return &transport{view: v, fault: f, crashed: make(chan struct{}), latest: time.Now(), events: long}
}

// arm begins to count.
func (t *transport) arm(f fault) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fault, t.writes = &f, nil
}

// written are the writes since the transport was armed.
func (t *transport) written() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]string(nil), t.writes...)
}

func (t *transport) lastWrite() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.latest
}

// die has every further call fail.
func (t *transport) die() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dieLocked()
}

func (t *transport) dieLocked() {
	if !t.dead {
		t.dead = true
		close(t.crashed)
	}
}

func (t *transport) isDead() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.dead
}

// WrappedRoundTripper lets client-go cancel what is under way.
func (t *transport) WrappedRoundTripper() http.RoundTripper { return t.next }

// RoundTrip makes one call.
func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Method == http.MethodGet {
		return t.read(request)
	}
	before, after, err := t.number(request)
	if err != nil || before {
		return nil, errors.Join(errCrashed, err)
	}
	response, err := t.next.RoundTrip(request)
	if after {
		if err == nil {
			err = errors.Join(drain(response.Body), response.Body.Close())
		}
		t.die()
		return nil, errors.Join(errCrashed, err)
	}
	return response, err
}

// number counts a write and tells whether the operator dies before or after it.
func (t *transport) number(request *http.Request) (before, after bool, err error) {
	careless, err := carelessDeletion(request)
	if err != nil {
		return false, false, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dead {
		return true, false, nil
	}
	path := request.URL.Path
	if strings.Contains(path, "/leases") || strings.Contains(path, "/events") && !t.events {
		return false, false, nil
	}
	if careless {
		t.careless = append(t.careless, path)
	}
	t.latest = time.Now()
	if t.fault == nil {
		return false, false, nil
	}
	t.writes = append(t.writes, request.Method+" "+path)
	if t.fault.onWrite != nil {
		t.fault.onWrite(len(t.writes))
	}
	if t.fault.crashAt == 0 || len(t.writes) != t.fault.crashAt {
		return false, false, nil
	}
	if t.fault.lost {
		return false, true, nil
	}
	t.dieLocked()
	return true, false, nil
}

// carelessDeletion reports a pod's deletion that is forced, or that would hit any
// pod of the name. The body may be JSON or protobuf: both hold the word.
func carelessDeletion(request *http.Request) (bool, error) {
	if request.Method != http.MethodDelete || !strings.Contains(request.URL.Path, "/pods/") {
		return false, nil
	}
	if request.Body == nil {
		return true, nil
	}
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return false, err
	}
	request.Body = io.NopCloser(bytes.NewReader(body))
	text := string(body)
	return !strings.Contains(text, `"uid":"`) && !uidLike.MatchString(text) || strings.Contains(text, `"gracePeriodSeconds":0`), nil
}

func (t *transport) read(request *http.Request) (*http.Response, error) {
	if t.isDead() {
		return nil, errCrashed
	}
	if t.view != nil {
		return t.view.read(t.next, request)
	}
	return t.next.RoundTrip(request)
}

func drain(body io.Reader) error {
	_, err := io.Copy(io.Discard, body)
	return err
}

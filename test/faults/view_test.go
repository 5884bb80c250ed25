//go:build faults

package faults

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// view is what an operator sees of the cluster, where it is not the truth. Its
// writes are not touched.
type view struct {
	mu sync.Mutex
	// lag delays every piece of a watch; nil delays nothing.
	lag func() time.Duration
	// held are the resources whose watches stand still until the channel closes.
	held map[string]chan struct{}
	// cut is closed when the watches end; nil while they are whole.
	cut chan struct{}
	// gone are the resources whose next watch is told that its start is too old.
	gone map[string]bool
	// past are the resources whose next list is answered as of a revision.
	past map[string]string
}

func newView() *view {
	return &view{held: map[string]chan struct{}{}, gone: map[string]bool{}, past: map[string]string{}}
}

// hold lets no event of a resource through until release.
func (v *view) hold(resource string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.held[resource] == nil {
		v.held[resource] = make(chan struct{})
	}
}

func (v *view) release(resource string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.held[resource] != nil {
		close(v.held[resource])
		delete(v.held, resource)
	}
}

// blind ends every watch and lets no other begin, until see.
func (v *view) blind() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.cut == nil {
		v.cut = make(chan struct{})
		close(v.cut)
	}
}

// see lets the watches begin anew. Each is told first that what it has missed is
// not known any more, so that it lists again and never hears of what was between.
func (v *view) see() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.cut = nil
	for _, resource := range recorded {
		v.gone[resource.Resource] = true
	}
	v.gone["nodes"] = true
}

// remember has the next list of a resource answered as it was at a revision.
func (v *view) remember(resource, revision string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.past[resource] = revision
}

func (v *view) isBlind() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.cut != nil
}

// read makes a call that changes nothing, or answers in the API server's place.
func (v *view) read(next http.RoundTripper, request *http.Request) (*http.Response, error) {
	query := request.URL.Query()
	watching := query.Get("watch") == "true" || query.Get("watch") == "1"
	resource := request.URL.Path[strings.LastIndex(request.URL.Path, "/")+1:]
	initial := query.Get("sendInitialEvents") == "true"
	if watching {
		if v.isBlind() {
			return nil, io.ErrUnexpectedEOF
		}
		if answer := v.refuse(resource, initial); answer != nil {
			return respond(request, answer)
		}
		response, err := next.RoundTrip(request)
		if err == nil {
			response.Body = newStream(response.Body, v, resource)
		}
		return response, err
	}
	if revision := v.takePast(resource); revision != "" {
		request = request.Clone(request.Context())
		query.Set("resourceVersion", revision)
		query.Set("resourceVersionMatch", string(metav1.ResourceVersionMatchExact))
		request.URL.RawQuery = query.Encode()
	}
	return next.RoundTrip(request)
}

// refuse is the answer to a watch that must list first; nil lets it through.
func (v *view) refuse(resource string, initial bool) *metav1.Status {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case initial && v.past[resource] != "":
		// A reader that may not stream its first list asks for it the old way.
		return &metav1.Status{Status: metav1.StatusFailure, Code: http.StatusUnprocessableEntity, Reason: metav1.StatusReasonInvalid, Message: "no streaming lists here"}
	case !initial && v.gone[resource]:
		delete(v.gone, resource)
		return &metav1.Status{Status: metav1.StatusFailure, Code: http.StatusGone, Reason: metav1.StatusReasonExpired, Message: "too old resource version"}
	}
	return nil
}

func (v *view) takePast(resource string) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	revision := v.past[resource]
	delete(v.past, resource)
	return revision
}

func respond(request *http.Request, status *metav1.Status) (*http.Response, error) {
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	body, err := json.Marshal(status)
	if err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: int(status.Code), Status: http.StatusText(int(status.Code)), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": []string{"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)),
		ContentLength: int64(len(body)), Request: request,
	}, nil
}

// barrier is what a piece of a watch has to pass: the gate of its resource, and
// the end of all watches.
func (v *view) barrier(resource string) (gate <-chan struct{}, blind bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.held[resource], v.cut != nil
}

func (v *view) delay() time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.lag == nil {
		return 0
	}
	return v.lag()
}

// stream is the body of a watch that comes late. The order of its bytes stays.
type stream struct {
	body     io.ReadCloser
	view     *view
	resource string
	pieces   chan piece
	closed   chan struct{}
	once     sync.Once
	rest     []byte
	failed   error
}

type piece struct {
	data []byte
	due  time.Time
	err  error
}

// pollBlind is how soon a watch notices that it was cut.
const pollBlind = 20 * time.Millisecond

func newStream(body io.ReadCloser, v *view, resource string) *stream {
	s := &stream{body: body, view: v, resource: resource, pieces: make(chan piece, 4096), closed: make(chan struct{})}
	go s.fetch()
	return s
}

func (s *stream) fetch() {
	buffer := make([]byte, 64<<10)
	for {
		n, err := s.body.Read(buffer)
		next := piece{data: append([]byte(nil), buffer[:n]...), due: time.Now().Add(s.view.delay()), err: err}
		select {
		case s.pieces <- next:
		case <-s.closed:
			return
		}
		if err != nil {
			return
		}
	}
}

// Read returns what is due.
func (s *stream) Read(into []byte) (int, error) {
	for len(s.rest) == 0 {
		if s.failed != nil {
			return 0, s.failed
		}
		select {
		case next := <-s.pieces:
			if err := s.pass(next.due); err != nil {
				return 0, err
			}
			s.rest, s.failed = next.data, next.err
		case <-s.closed:
			return 0, io.EOF
		case <-time.After(pollBlind):
			if s.view.isBlind() {
				return 0, io.ErrUnexpectedEOF
			}
		}
	}
	n := copy(into, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// pass waits until a piece is due and its gate open.
func (s *stream) pass(due time.Time) error {
	for {
		gate, blind := s.view.barrier(s.resource)
		wait := time.Until(due)
		switch {
		case blind:
			return io.ErrUnexpectedEOF
		case gate == nil && wait <= 0:
			return nil
		case gate == nil:
			gate = make(chan struct{})
		default:
			wait = pollBlind
		}
		select {
		case <-gate:
		case <-time.After(wait):
		case <-s.closed:
			return io.EOF
		}
	}
}

// Close ends the watch.
func (s *stream) Close() error {
	s.once.Do(func() { close(s.closed) })
	return s.body.Close()
}

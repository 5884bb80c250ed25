//go:build faults

package faults

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	watchtools "k8s.io/client-go/tools/watch"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/testbench"
)

// recorded are the kinds that a run is judged by: the desk's own, and every kind
// that the operator may create. Secrets and Nodes are the user's.
var recorded = []schema.GroupVersionResource{
	v1alpha1.GroupVersion.WithResource("tradingagents"),
	v1alpha1.GroupVersion.WithResource("tradingaccounts"),
	v1alpha1.GroupVersion.WithResource("riskpolicies"),
	v1alpha1.GroupVersion.WithResource("assetpairs"),
	v1alpha1.GroupVersion.WithResource("ledgers"),
}

// unrecorded are kinds that the operator may create and that are no state.
var unrecorded = []string{"events"}

// recordCreated has everything recorded that the operator's ClusterRole lets it
// create, as far as this API server serves it.
func recordCreated(mapper meta.RESTMapper) error {
	objects, err := testbench.Objects(filepath.Join("..", "..", "config", "rbac", "role.yaml"))
	if err != nil {
		return err
	}
	for _, object := range objects {
		role := &rbacv1.ClusterRole{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, role); err != nil {
			return fmt.Errorf("read the operator's role: %w", err)
		}
		for _, rule := range role.Rules {
			if !slices.Contains(rule.Verbs, "create") {
				continue
			}
			for _, resource := range rule.Resources {
				served, err := mapper.ResourceFor(schema.GroupVersionResource{Group: rule.APIGroups[0], Resource: resource})
				if meta.IsNoMatchError(err) || slices.Contains(unrecorded, resource) {
					continue
				}
				if err != nil {
					return fmt.Errorf("look up %s: %w", resource, err)
				}
				recorded = append(recorded, served)
			}
		}
	}
	return nil
}

// key of an object in the records of its namespace.
type key struct{ kind, name string }

func (k key) String() string { return k.kind + "/" + k.name }

// change is one event of the API server's own history.
type change struct {
	// revision of the store: it orders the changes of all kinds.
	revision int64
	event    watch.EventType
	object   *unstructured.Unstructured
}

// records are everything that has happened in one namespace.
type records struct {
	mu      sync.Mutex
	changes []change
	live    map[key]*unstructured.Unstructured
	// revisions of the last change of each object, its deletion included.
	revisions map[key]int64
	// moved is closed and replaced at every change.
	moved  chan struct{}
	latest time.Time
}

// recorder watches the whole cluster as an administrator.
type recorder struct {
	mu         sync.Mutex
	namespaces map[string]*records
	cancel     context.CancelFunc
}

func startRecorder(config *rest.Config) (*recorder, error) {
	cluster, err := dynamic.NewForConfig(&rest.Config{Host: config.Host, TLSClientConfig: config.TLSClientConfig, QPS: -1})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &recorder{namespaces: map[string]*records{}, cancel: cancel}
	for _, resource := range recorded {
		all := cluster.Resource(resource)
		list, err := all.List(ctx, metav1.ListOptions{})
		if err != nil {
			cancel()
			return nil, fmt.Errorf("list %s: %w", resource.Resource, err)
		}
		watcher, err := watchtools.NewRetryWatcherWithContext(ctx, list.GetResourceVersion(), watchFunc(all.Watch))
		if err != nil {
			cancel()
			return nil, fmt.Errorf("watch %s: %w", resource.Resource, err)
		}
		go r.follow(watcher.ResultChan())
	}
	return r, nil
}

type watchFunc func(context.Context, metav1.ListOptions) (watch.Interface, error)

func (f watchFunc) WatchWithContext(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	return f(ctx, options)
}

func (r *recorder) stop() { r.cancel() }

func (r *recorder) follow(events <-chan watch.Event) {
	for event := range events {
		object, ok := event.Object.(*unstructured.Unstructured)
		if ok && event.Type != watch.Bookmark {
			r.of(object.GetNamespace()).add(event.Type, object)
		}
	}
}

// of returns the records of a namespace.
func (r *recorder) of(namespace string) *records {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.namespaces[namespace] == nil {
		r.namespaces[namespace] = &records{live: map[key]*unstructured.Unstructured{}, revisions: map[key]int64{}, moved: make(chan struct{}), latest: time.Now()}
	}
	return r.namespaces[namespace]
}

// forget frees the memory of a namespace that nobody looks at any more.
func (r *recorder) forget(namespace string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.namespaces, namespace)
}

func (r *records) add(event watch.EventType, object *unstructured.Unstructured) {
	revision, err := strconv.ParseInt(object.GetResourceVersion(), 10, 64)
	if err != nil {
		revision = -1
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	object.SetManagedFields(nil)
	r.changes = append(r.changes, change{revision, event, object})
	at := key{object.GetKind(), object.GetName()}
	r.revisions[at] = revision
	if event == watch.Deleted {
		delete(r.live, at)
	} else {
		r.live[at] = object
	}
	r.latest = time.Now()
	close(r.moved)
	r.moved = make(chan struct{})
}

// revisionOf is the revision of an object's last change; 0 if it never was.
func (r *records) revisionOf(at key) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.revisions[at]
}

// wait returns a channel that is closed at the next change.
func (r *records) wait() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.moved
}

// all returns the live objects. They are shared and must not be changed.
func (r *records) all() map[key]*unstructured.Unstructured {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.live)
}

// history returns all changes in the order of the store.
func (r *records) history() []change {
	r.mu.Lock()
	defer r.mu.Unlock()
	return sortedByRevision(r.changes)
}

func (r *records) lastChange() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.latest
}

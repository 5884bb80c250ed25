package endpoint

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/log"
	ctrlreconcile "sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

const (
	// syncTimeout bounds the first reading of one optional API. Where it is not
	// over by then, agents are told that the API is missing, and it is tried again.
	syncTimeout = 30 * time.Second
	// Bounds of the pause before an API is tried again that could not be read: a
	// fresh CRD takes a second or two to be served.
	minRetry = 500 * time.Millisecond
	maxRetry = 30 * time.Second
)

// API is a set of kinds that another project brings. It may be installed after
// the operator, and may go away.
type API string

// The optional APIs.
const (
	// CertManager issues certificates.
	CertManager API = "cert-manager"
	// GatewayAPI routes by Gateways.
	GatewayAPI API = "Gateway API"
	// BackendTLS is the part of Gateway API by which a Gateway knows the agent.
	BackendTLS API = "BackendTLSPolicy of Gateway API"
	// Traefik has a kind of its own for that.
	Traefik API = "ServersTransport of Traefik"
)

// watched is one kind of an optional API.
type watched struct {
	// definition is the name of its CRD.
	definition string
	prototype  client.Object
	cache.ByObject
	// owned says that objects are looked for by who controls them.
	owned bool
	// agents that an object concerns, in whatever state it is.
	agents func(context.Context, *APIs, client.Object) ([]ctrlreconcile.Request, error)
	// matters says which updates concern them; nil is every update.
	matters func(before, after client.Object) bool
}

// APIs keeps caches of those optional APIs that are installed: each starts when
// the last of its CRDs appears, and ends when one goes.
type APIs struct {
	config *rest.Config
	http   *http.Client
	scheme *runtime.Scheme
	mapper meta.RESTMapper
	// agents reads the operator's own kinds.
	agents  client.Reader
	options Options
	kinds   map[API][]watched

	// settled is closed when every API has been looked for once.
	settled chan struct{}
	wake    chan struct{}

	mu      sync.Mutex
	queue   workqueue.TypedRateLimitingInterface[ctrlreconcile.Request]
	running map[API]*running
}

// running is the cache of one API.
type running struct {
	client client.Client
	// definitions are the UIDs of the CRDs that the cache was started for.
	definitions map[string]types.UID
	stop        context.CancelFunc
	ended       chan struct{}
}

// NewAPIs prepares for every optional API; nothing is asked before the controller
// starts.
func NewAPIs(mgr ctrl.Manager, options Options) *APIs {
	return &APIs{
		config:  mgr.GetConfig(),
		http:    mgr.GetHTTPClient(),
		scheme:  mgr.GetScheme(),
		mapper:  mgr.GetRESTMapper(),
		agents:  mgr.GetClient(),
		options: options,
		kinds:   optionalKinds(),
		settled: make(chan struct{}),
		wake:    make(chan struct{}, 1),
		running: map[API]*running{},
	}
}

// Client reads an API's kinds from its cache and writes them; nil if the API is
// not installed, or cannot be read.
func (a *APIs) Client(api API) client.Client {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if r := a.running[api]; r != nil {
		return r.client
	}
	return nil
}

// Start begins to look for the APIs. Their objects, coming and going wake agents
// by the queue.
func (a *APIs) Start(ctx context.Context, queue workqueue.TypedRateLimitingInterface[ctrlreconcile.Request]) error {
	a.mu.Lock()
	a.queue = queue
	a.mu.Unlock()
	definitions, err := a.newCache(cache.Options{DefaultTransform: nameOnly})
	if err != nil {
		return fmt.Errorf("set up the cache of CRDs: %w", err)
	}
	go a.follow(ctx, definitions)
	return nil
}

// WaitForSync waits until every API that is installed has been read, so that no
// agent is told of a missing one because the operator has just started.
func (a *APIs) WaitForSync(ctx context.Context) error {
	select {
	case <-a.settled:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("look for optional APIs: %w", ctx.Err())
	}
}

func (a *APIs) newCache(options cache.Options) (cache.Cache, error) {
	options.HTTPClient, options.Scheme, options.Mapper = a.http, a.scheme, a.mapper
	return cache.New(a.config, options)
}

func definition() *metav1.PartialObjectMetadata {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(apiextensionsv1.SchemeGroupVersion.WithKind("CustomResourceDefinition"))
	return object
}

// nameOnly keeps of a CRD what tells that it is there.
func nameOnly(object any) (any, error) {
	if crd, ok := object.(*metav1.PartialObjectMetadata); ok {
		crd.ObjectMeta = metav1.ObjectMeta{Name: crd.Name, UID: crd.UID, ResourceVersion: crd.ResourceVersion, DeletionTimestamp: crd.DeletionTimestamp}
	}
	return object, nil
}

// follow starts and stops the APIs' caches until the context ends.
func (a *APIs) follow(ctx context.Context, definitions cache.Cache) {
	var group sync.WaitGroup
	defer group.Wait()
	defer a.stopAll()
	group.Go(func() {
		if err := definitions.Start(ctx); err != nil {
			log.FromContext(ctx).Error(err, "CRDs are not watched any more")
		}
	})
	informer, err := definitions.GetInformer(ctx, definition())
	if err == nil {
		_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { a.again() },
			UpdateFunc: func(any, any) { a.again() },
			DeleteFunc: func(any) { a.again() },
		})
	}
	if err != nil && ctx.Err() == nil {
		log.FromContext(ctx).Error(err, "CRDs cannot be watched, so endpoints have neither certificate nor gateway; the operator needs the rights of config/rbac")
	}
	pause, first := time.Duration(0), true
	for ctx.Err() == nil {
		pause = nextPause(pause, a.look(ctx, definitions))
		if first {
			close(a.settled)
			first = false
		}
		var retry <-chan time.Time
		if pause > 0 {
			retry = time.After(pause)
		}
		select {
		case <-a.wake:
			// What has changed is worth being tried soon.
			pause = 0
		case <-retry:
		case <-ctx.Done():
		}
	}
}

// nextPause doubles while an API cannot be read; zero waits for a CRD to change.
func nextPause(pause time.Duration, err error) time.Duration {
	if err == nil {
		return 0
	}
	return min(max(2*pause, minRetry), maxRetry)
}

// again has the APIs looked for once more. What comes while a look is under way
// makes one more look.
func (a *APIs) again() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// look brings the caches in step with the CRDs. Its error says which API could
// not be read.
func (a *APIs) look(ctx context.Context, definitions cache.Cache) error {
	var failed error
	for api, kinds := range a.kinds {
		found, err := installed(ctx, definitions, kinds)
		if err != nil {
			return err
		}
		a.mu.Lock()
		current := a.running[api]
		a.mu.Unlock()
		if current != nil && maps.Equal(current.definitions, found) {
			continue
		}
		if current != nil {
			a.stop(api)
			log.FromContext(ctx).Info("an optional API has gone", "api", api)
		}
		if found != nil {
			if err := a.start(ctx, api, found); err != nil {
				failed = errors.Join(failed, err)
				log.FromContext(ctx).Info("an optional API cannot be read yet", "api", api, "cause", err.Error())
			} else {
				log.FromContext(ctx).Info("an optional API is there", "api", api)
			}
		}
		if current != nil || found != nil {
			a.wakeAll(ctx)
		}
	}
	return failed
}

// installed are the CRDs of some kinds; nil if one is missing or going.
func installed(ctx context.Context, definitions cache.Cache, kinds []watched) (map[string]types.UID, error) {
	found := map[string]types.UID{}
	for _, kind := range kinds {
		crd := definition()
		err := definitions.Get(ctx, client.ObjectKey{Name: kind.definition}, crd)
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("look for CRD %s: %w", kind.definition, err)
		}
		if !crd.DeletionTimestamp.IsZero() {
			return nil, nil
		}
		found[kind.definition] = crd.UID
	}
	return found, nil
}

// start fills a cache with an API's kinds.
func (a *APIs) start(ctx context.Context, api API, definitions map[string]types.UID) error {
	options := cache.Options{DefaultTransform: cache.TransformStripManagedFields(), ByObject: map[client.Object]cache.ByObject{}}
	for _, kind := range a.kinds[api] {
		gvk, err := apiutil.GVKForObject(kind.prototype, a.scheme)
		if err != nil {
			return err
		}
		if _, err := a.mapper.RESTMapping(gvk.GroupKind(), gvk.Version); err != nil {
			return fmt.Errorf("%s is not served: %w", gvk, err)
		}
		options.ByObject[kind.prototype] = kind.ByObject
	}
	informers, err := a.newCache(options)
	if err != nil {
		return err
	}
	writer, err := client.New(a.config, client.Options{
		HTTPClient: a.http, Scheme: a.scheme, Mapper: a.mapper,
		Cache: &client.CacheOptions{Reader: informers, Unstructured: true},
	})
	if err != nil {
		return err
	}
	running := &running{client: writer, definitions: definitions, ended: make(chan struct{})}
	var alive context.Context
	alive, running.stop = context.WithCancel(ctx)
	go func() {
		defer close(running.ended)
		if err := informers.Start(alive); err != nil {
			log.FromContext(ctx).Error(err, "the cache of an optional API has ended", "api", api)
		}
	}()
	if err := a.fill(alive, api, informers); err != nil {
		running.stop()
		<-running.ended
		return err
	}
	a.mu.Lock()
	a.running[api] = running
	a.mu.Unlock()
	return nil
}

// fill reads every kind of an API once, and has it watched.
func (a *APIs) fill(ctx context.Context, api API, informers cache.Cache) error {
	limited, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	for _, kind := range a.kinds[api] {
		if kind.owned {
			if err := informers.IndexField(limited, kind.prototype, reconcile.IndexOwner, reconcile.OwnerKeys); err != nil {
				return fmt.Errorf("index %s: %w", kind.definition, err)
			}
		}
		informer, err := informers.GetInformer(limited, kind.prototype)
		if err != nil {
			return fmt.Errorf("read %s: %w", kind.definition, err)
		}
		if _, err := informer.AddEventHandler(a.handler(ctx, kind)); err != nil {
			return fmt.Errorf("watch %s: %w", kind.definition, err)
		}
	}
	return nil
}

func (a *APIs) handler(ctx context.Context, kind watched) toolscache.ResourceEventHandler {
	tell := func(object any) {
		if gone, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
			object = gone.Obj
		}
		if object, ok := object.(client.Object); ok {
			requests, err := kind.agents(ctx, a, object)
			if err != nil {
				log.FromContext(ctx).Error(err, "the agents of an object are not known", "kind", kind.definition)
			}
			a.add(requests)
		}
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc: tell,
		UpdateFunc: func(before, after any) {
			was, wasOK := before.(client.Object)
			is, isOK := after.(client.Object)
			if kind.matters == nil || !wasOK || !isOK || kind.matters(was, is) {
				tell(after)
			}
		},
		DeleteFunc: tell,
	}
}

func (a *APIs) add(requests []ctrlreconcile.Request) {
	a.mu.Lock()
	queue := a.queue
	a.mu.Unlock()
	if queue == nil {
		return
	}
	for _, request := range requests {
		queue.Add(request)
	}
}

// wakeAll wakes every agent: each may have an internal certificate.
func (a *APIs) wakeAll(ctx context.Context) {
	requests, err := reconcile.AllAgents(ctx, a.agents)
	if err != nil && ctx.Err() == nil {
		log.FromContext(ctx).Error(err, "the agents cannot be woken")
	}
	a.add(requests)
}

func (a *APIs) stop(api API) {
	a.mu.Lock()
	current := a.running[api]
	delete(a.running, api)
	a.mu.Unlock()
	if current != nil {
		current.stop()
		<-current.ended
	}
}

func (a *APIs) stopAll() {
	for api := range a.kinds {
		a.stop(api)
	}
}

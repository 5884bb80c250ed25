package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
)

// statefulSet is a set of one pod, which is what Kubernetes itself has for an
// application of which there must never be two.
func statefulSet(i int) *appsv1.StatefulSet {
	name := fmt.Sprintf("set-%05d", i)
	labels := map[string]string{"app": name}
	return &appsv1.StatefulSet{ObjectMeta: inDesk(i/deskAgents, name), Spec: appsv1.StatefulSetSpec{
		Replicas: new(int32(1)),
		Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels},
			Spec: corev1.PodSpec{
				SecurityContext: &corev1.PodSecurityContext{
					RunAsNonRoot: new(true), RunAsUser: new(int64(65532)),
					SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
				},
				Containers: []corev1.Container{{
					Name: "trading-agent", Image: agentImage,
					Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("25m")}},
					SecurityContext: &corev1.SecurityContext{
						AllowPrivilegeEscalation: new(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
					},
				}},
			},
		},
	}}
}

// setsResult is what Kubernetes' own controller did.
type setsResult struct {
	// took from the first creation until every set's controller had observed it
	// and its pod was ready.
	took time.Duration
	// writes of the controller, and the API server's processor time in
	// milliseconds, for each set.
	writes, serverCPU float64
}

// measureSets creates as many StatefulSets of one pod in an empty cluster.
func (b *bench) measureSets(ctx context.Context) (setsResult, error) {
	p, err := startPlane(ctx, b.programs, b.dir("sets"), b.shape.agents)
	if err != nil {
		return setsResult{}, err
	}
	defer b.end(p)
	for desk := range b.shape.desks() {
		if err := p.admin.Create(ctx, deskNamespace(desk, nil)); err != nil {
			return setsResult{}, err
		}
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	all, err := p.awaitSets(watching, b.shape.agents)
	if err != nil {
		return setsResult{}, err
	}
	if err := p.calm(ctx); err != nil {
		return setsResult{}, err
	}
	served, err := serverUsage()
	if err != nil {
		return setsResult{}, err
	}
	start := time.Now()
	err = each(ctx, b.shape.agents, func(ctx context.Context, i int) error { return p.admin.Create(ctx, statefulSet(i)) })
	if err != nil {
		return setsResult{}, fmt.Errorf("create a StatefulSet: %w", err)
	}
	end, err := all.wait(ctx, b.patience())
	if err != nil {
		return setsResult{}, err
	}
	serving, err := serverUsage()
	if err != nil {
		return setsResult{}, err
	}
	requests, err := p.audit.read()
	if err != nil {
		return setsResult{}, err
	}
	writes := 0
	for _, r := range since(requests, controllerManagerUser, start, end) {
		// Of the controller manager's many controllers only this one writes these.
		if r.done() && (r.resource == "statefulsets" || r.resource == "controllerrevisions" || r.resource == "events" || r.resource == "pods" && r.verb == "create") {
			writes++
		}
	}
	return setsResult{
		took: end.Sub(start), writes: float64(writes) / float64(b.shape.agents), serverCPU: perAgent(serving.cpu-served.cpu, b.shape.agents),
	}, nil
}

// awaitSets waits for StatefulSets that their controller has observed and whose
// pod is ready. It watches until the context ends.
func (p *plane) awaitSets(ctx context.Context, want int) (*awaited[*appsv1.StatefulSet], error) {
	watched, err := cache.New(p.config, cache.Options{
		Scheme: p.scheme, DefaultTransform: cache.TransformStripManagedFields(),
	})
	if err != nil {
		return nil, err
	}
	all := &awaited[*appsv1.StatefulSet]{
		what: "every StatefulSet is ready", want: want, done: make(chan struct{}), met: map[string]bool{},
		meets: func(set *appsv1.StatefulSet) bool {
			return set.Status.ObservedGeneration == set.Generation && set.Status.ReadyReplicas == 1
		},
	}
	informer, err := watched.GetInformer(ctx, &appsv1.StatefulSet{}, cache.BlockUntilSynced(false))
	if err != nil {
		return nil, err
	}
	tell := func(set *appsv1.StatefulSet) { all.tell(set.Name, set) }
	if _, err := informer.AddEventHandler(handling(tell, func(*appsv1.StatefulSet) {})); err != nil {
		return nil, err
	}
	// It ends with the context; a watch that breaks is taken up again by itself.
	go func() { _ = watched.Start(ctx) }()
	if !watched.WaitForCacheSync(ctx) {
		return nil, errors.New("the cache of StatefulSets has not synced")
	}
	return all, nil
}

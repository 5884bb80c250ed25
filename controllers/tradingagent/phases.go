package tradingagent

import (
	"context"
	"errors"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

// gather reads everything that a pass needs. A missing reference is no error.
func (r *Reconciler) gather(ctx context.Context, key client.ObjectKey) (*scope, error) {
	agent := &v1alpha1.TradingAgent{}
	if err := r.Client.Get(ctx, key, agent); err != nil {
		return nil, fmt.Errorf("read the agent: %w", err)
	}
	s := &scope{agent: agent, before: agent.DeepCopy(), now: r.Clock.Now()}
	var err error
	if s.account, err = read(ctx, r.Client, key.Namespace, agent.Spec.AccountRef.Name, &v1alpha1.TradingAccount{}); err != nil {
		return nil, err
	}
	if s.policy, err = read(ctx, r.Client, key.Namespace, agent.Spec.RiskPolicyRef.Name, &v1alpha1.RiskPolicy{}); err != nil {
		return nil, err
	}
	if s.account != nil {
		s.gateway = r.Gateways[s.account.Spec.Venue]
		if s.ledger, err = read(ctx, r.Client, key.Namespace, s.account.Spec.LedgerRef.Name, &v1alpha1.Ledger{}); err != nil {
			return nil, err
		}
	}
	s.settings, _ = v1alpha1.Resolve(agent, s.policy)
	if err := r.gatherPod(ctx, s); err != nil {
		return nil, err
	}
	if err := r.gatherRevisions(ctx, s); err != nil {
		return nil, err
	}
	var pairs v1alpha1.AssetPairList
	// The pairs are only read: copying a namespace's for every pass is what costs.
	if err := r.Client.List(ctx, &pairs, client.InNamespace(key.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list asset pairs: %w", err)
	}
	s.pairs = pairs.Items
	r.lookUpPairs(s)
	r.lookUpData(s)
	neighbours, err := reconcile.AgentsBy(ctx, r.Client, key.Namespace, reconcile.IndexAccount, agent.Spec.AccountRef.Name)
	if err != nil {
		return nil, err
	}
	for _, neighbour := range neighbours {
		if older(&neighbour, agent) {
			s.elders = append(s.elders, neighbour)
		}
	}
	s.target = s.targetRevision()
	return s, nil
}

// gatherPod reads the pod, its node and budget, and what else passes for it.
func (r *Reconciler) gatherPod(ctx context.Context, s *scope) error {
	namespace, name := s.agent.Namespace, ChildName(s.agent)
	var err error
	if s.pod, err = read(ctx, r.Client, namespace, name, &corev1.Pod{}); err != nil {
		return err
	}
	if s.budget, err = read(ctx, r.Client, namespace, name, &policyv1.PodDisruptionBudget{}); err != nil {
		return err
	}
	if pod := s.ownPod(); isScheduled(pod) {
		if s.node, err = read(ctx, r.Client, "", pod.Spec.NodeName, &corev1.Node{}); err != nil {
			return err
		}
	}
	var pods corev1.PodList
	err = r.Client.List(ctx, &pods, client.InNamespace(namespace), client.MatchingFields{reconcile.IndexAgent: s.agent.Name})
	if err != nil {
		return fmt.Errorf("list the pods that pass for the agent: %w", err)
	}
	for i := range pods.Items {
		if pod := &pods.Items[i]; pod.Name != name && pod.DeletionTimestamp.IsZero() && !finished(pod) {
			s.duplicates = append(s.duplicates, pod.Name)
		}
	}
	slices.Sort(s.duplicates)
	return nil
}

// gatherRevisions reads the stored revisions and finds the one that shall run.
func (r *Reconciler) gatherRevisions(ctx context.Context, s *scope) error {
	var revisions appsv1.ControllerRevisionList
	err := r.Client.List(ctx, &revisions, client.InNamespace(s.agent.Namespace), client.MatchingFields{reconcile.IndexOwner: string(s.agent.UID)})
	if err != nil {
		return fmt.Errorf("list the agent's revisions: %w", err)
	}
	s.revisions = revisions.Items
	if s.wanted, err = wantedRevision(s.agent, s.revisions, r.AgentImage); err != nil {
		return err
	}
	if told := s.agent.Status.Revision; told != nil && told.Good != s.wanted.name {
		if s.good, err = storedRevision(s.revisions, told.Good); err != nil {
			return err
		}
	}
	return nil
}

// read gets one object from the cache; nil if it does not exist.
func read[T client.Object](ctx context.Context, reader client.Reader, namespace, name string, object T) (T, error) {
	var none T
	err := reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, object)
	if apierrors.IsNotFound(err) {
		return none, nil
	}
	if err != nil {
		return none, fmt.Errorf("read %T %q: %w", object, name, err)
	}
	return object, nil
}

func older(a, b *v1alpha1.TradingAgent) bool {
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.CreationTimestamp.Before(&b.CreationTimestamp)
	}
	return a.Name < b.Name
}

// apply brings the children to their desired state. Without mayStart no pod is
// created or replaced, but one that has failed for good is cleared away.
func (r *Reconciler) apply(ctx context.Context, s *scope, mayStart bool) error {
	s.mayStart = mayStart && !slices.Contains(s.find(s.target.content.AssetPairs), nil)
	if s.mayStart {
		if err := r.prepare(ctx, s); err != nil {
			return err
		}
	}
	if err := r.applyBudget(ctx, s); err != nil {
		return err
	}
	s.step = nextStep(s)
	switch s.step {
	case stepCreate:
		if err := r.createPod(ctx, s); err != nil {
			s.step = stepKeep
			return err
		}
	case stepReplace, stepRevive:
		return r.endPod(ctx, s.pod)
	case stepKeep, stepBackOff, stepAwaitEnd, stepForeign:
	}
	return nil
}

// prepare makes what a pod of the target revision needs before it can start.
func (r *Reconciler) prepare(ctx context.Context, s *scope) error {
	if s.pod != nil && s.ownPod() == nil {
		return nil
	}
	if err := r.setFinalizers(ctx, s, func(agent *v1alpha1.TradingAgent) bool {
		return agent.DeletionTimestamp.IsZero() && controllerutil.AddFinalizer(agent, v1alpha1.AgentFinalizer)
	}); err != nil {
		return err
	}
	if err := r.confirm(ctx, s); err != nil {
		return err
	}
	for _, child := range desiredAccess(s.agent) {
		if err := r.Applier.Apply(ctx, s.agent, child); err != nil {
			return err
		}
	}
	if err := r.keepRevision(ctx, s); err != nil {
		return err
	}
	if err := r.forgetRevisions(ctx, s); err != nil {
		return err
	}
	var err error
	s.hash, err = templateHash(s)
	return err
}

// confirm asks the API server, before a pod is created, whether the agent is still
// what the cache shows. An operator that has started a moment ago may see an agent
// that is gone, or its spec of before. What this pass has written needs no asking.
func (r *Reconciler) confirm(ctx context.Context, s *scope) error {
	if s.pod != nil || s.confirmed {
		return nil
	}
	live := &v1alpha1.TradingAgent{}
	err := r.Live.Get(ctx, client.ObjectKeyFromObject(s.agent), live)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("make sure that the agent exists: %w", err)
	}
	if err != nil || live.UID != s.agent.UID || live.Generation != s.agent.Generation {
		resource := v1alpha1.GroupVersion.WithResource("tradingagents").GroupResource()
		return apierrors.NewConflict(resource, s.agent.Name, errors.New("the agent is another one by now, or has another spec"))
	}
	return nil
}

// createPod creates the agent's pod. Its finalizer is there already, so that no
// pod ever runs for an agent that could vanish without it.
func (r *Reconciler) createPod(ctx context.Context, s *scope) error {
	pod := desiredPod(s)
	err := r.Client.Create(ctx, pod, client.FieldOwner(reconcile.FieldOwner))
	if apierrors.IsAlreadyExists(err) {
		return r.meetPod(ctx, s)
	}
	if err != nil {
		return fmt.Errorf("create Pod %s: %w", pod.Name, err)
	}
	s.pod = pod
	return nil
}

// meetPod looks at a pod that the cache did not show: it was created a moment
// ago, lost the label that the cache selects by, or is somebody else's.
func (r *Reconciler) meetPod(ctx context.Context, s *scope) error {
	pod := &corev1.Pod{}
	if err := r.Live.Get(ctx, client.ObjectKey{Namespace: s.agent.Namespace, Name: ChildName(s.agent)}, pod); err != nil {
		return fmt.Errorf("read the pod that exists already: %w", err)
	}
	s.pod = pod
	s.step = nextStep(&scope{agent: s.agent, pod: pod, now: s.now})
	if s.ownPod() == nil || pod.Labels[reconcile.LabelManagedBy] == reconcile.FieldOwner {
		return nil
	}
	before := pod.DeepCopy()
	for label, value := range reconcile.Owned(s.agent) {
		pod.Labels = setLabel(pod.Labels, label, value)
	}
	if err := r.Client.Patch(ctx, pod, client.MergeFrom(before), client.FieldOwner(reconcile.FieldOwner)); err != nil {
		return fmt.Errorf("label Pod %s again: %w", pod.Name, err)
	}
	return nil
}

func setLabel(labels map[string]string, label, value string) map[string]string {
	if labels == nil {
		labels = map[string]string{}
	}
	labels[label] = value
	return labels
}

// endPod deletes exactly the pod that was seen, with the grace that its process
// needs. It is never forced: on a node that is out of reach the old process may
// still trade.
func (r *Reconciler) endPod(ctx context.Context, pod *corev1.Pod) error {
	err := r.Client.Delete(ctx, pod, client.Preconditions{UID: new(pod.UID), ResourceVersion: new(pod.ResourceVersion)})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete Pod %s: %w", pod.Name, err)
	}
	return nil
}

// podIsGone asks the API server itself, because a stale cache or a lost label
// must not let an agent's claims go while its process runs.
func (r *Reconciler) podIsGone(ctx context.Context, agent *v1alpha1.TradingAgent) (bool, error) {
	pod := &corev1.Pod{}
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: agent.Namespace, Name: ChildName(agent)}, pod)
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("make sure that the pod is gone: %w", err)
	}
	return !metav1.IsControlledBy(pod, agent), nil
}

// setFinalizers writes the agent's finalizers when change reports that they
// have changed. It is called before the status is touched: the answer replaces
// the object.
func (r *Reconciler) setFinalizers(ctx context.Context, s *scope, change func(*v1alpha1.TradingAgent) bool) error {
	changed := s.before.DeepCopy()
	if !change(changed) {
		return nil
	}
	patch := client.MergeFromWithOptions(s.before, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Patch(ctx, changed, patch, client.FieldOwner(reconcile.FieldOwner)); err != nil {
		return fmt.Errorf("write the finalizers: %w", err)
	}
	s.before, s.agent = changed.DeepCopy(), changed
	s.confirmed = true
	return nil
}

// refused turns an answer of the API server that the user must hear of into an
// outcome; ok is false for any other error.
func refused(err error) (outcome reconcile.Outcome, ok bool) {
	var notOwned *reconcile.NotOwnedError
	var status apierrors.APIStatus
	switch {
	case errors.As(err, &notOwned):
		return reconcile.Stall(v1alpha1.ReasonChildNotOwned, notOwned.Error()).Again(foreignPodPause), true
	case errors.As(err, &status) && (apierrors.IsForbidden(err) || apierrors.IsInvalid(err)):
		return reconcile.Wait(v1alpha1.ReasonChildRefused, err.Error(), refusedPause), true
	}
	return reconcile.Outcome{}, false
}

// ledgerURI reads the connection URI of the agent's ledger; empty if any link of
// the chain does not exist any more.
func (r *Reconciler) ledgerURI(ctx context.Context, s *scope) (string, error) {
	if s.ledger == nil {
		return "", nil
	}
	ref := s.ledger.Spec.URISecretRef
	secret := &corev1.Secret{}
	err := r.Live.Get(ctx, types.NamespacedName{Namespace: s.agent.Namespace, Name: ref.Name}, secret)
	if err != nil {
		return "", client.IgnoreNotFound(err)
	}
	return string(secret.Data[ref.Key]), nil
}

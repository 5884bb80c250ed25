package tradingagent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

// revisionHistory is how many revisions of an agent are kept, those in use
// included: enough to see what was tried, and little in the cluster's store.
const revisionHistory = 5

// specHashAnnotation on a revision holds the hash of what the spec said for it. A
// spec without an image leads to another revision under another default.
const specHashAnnotation = v1alpha1.GroupName + "/spec-hash"

// revision is one state of the fields that need a new process.
type revision struct {
	name string
	// specHash is the hash of what the spec said, content what it came to: the
	// image is filled in.
	specHash string
	content  v1alpha1.AgentRevision
	// data is the content as it is stored. It is handed to the process as it is,
	// because another release of the operator may have written it.
	data []byte
	// stored reports whether the ControllerRevision exists.
	stored bool
}

// wantedRevision is the revision that the spec asks for. The one that was good
// keeps the image that it began with, so that no new default of the operator ever
// restarts an agent; one that never got Ready takes up a corrected default.
func wantedRevision(agent *v1alpha1.TradingAgent, stored []appsv1.ControllerRevision, defaultImage string) (*revision, error) {
	content := v1alpha1.RevisionOf(&agent.Spec)
	specHash, err := hashOf(agent.UID, &content)
	if err != nil {
		return nil, err
	}
	if told := agent.Status.Revision; told != nil {
		good, err := storedRevision(stored, told.Good)
		if err != nil || good != nil && good.specHash == specHash {
			return good, err
		}
	}
	if content.Image == "" {
		content.Image = defaultImage
	}
	hash, err := hashOf(specHash, &content)
	if err != nil {
		return nil, err
	}
	name := agent.Name + "-" + hash
	if found, err := storedRevision(stored, name); found != nil || err != nil {
		return found, err
	}
	data, err := json.Marshal(content)
	if err != nil {
		return nil, fmt.Errorf("encode the revision: %w", err)
	}
	return &revision{name: name, specHash: specHash, content: content, data: data}, nil
}

// storedRevision finds a revision by name; nil if there is none.
func storedRevision(stored []appsv1.ControllerRevision, name string) (*revision, error) {
	for i := range stored {
		if stored[i].Name == name {
			return decodeRevision(&stored[i])
		}
	}
	return nil, nil
}

func decodeRevision(stored *appsv1.ControllerRevision) (*revision, error) {
	found := &revision{name: stored.Name, specHash: stored.Annotations[specHashAnnotation], data: stored.Data.Raw, stored: true}
	if err := json.Unmarshal(stored.Data.Raw, &found.content); err != nil {
		return nil, fmt.Errorf("decode ControllerRevision %s: %w; delete it, and the operator writes it anew", stored.Name, err)
	}
	return found, nil
}

// hashOf is the same for the same content of the same seed. An agent's UID is the
// first seed, so that the revisions of an earlier agent of the name, which the
// garbage collector has not found yet, are never met.
func hashOf[S ~string](seed S, content *v1alpha1.AgentRevision) (string, error) {
	encoded, err := json.Marshal(struct {
		Seed    S                       `json:"seed"`
		Content *v1alpha1.AgentRevision `json:"content"`
	}{seed, content})
	if err != nil {
		return "", fmt.Errorf("encode the revision: %w", err)
	}
	sum := sha256.Sum256(encoded)
	return hex.EncodeToString(sum[:5]), nil
}

func desiredRevision(agent *v1alpha1.TradingAgent, wanted *revision, number int64) *appsv1.ControllerRevision {
	meta := childMeta(agent)
	meta.Name = wanted.name
	meta.Annotations = map[string]string{specHashAnnotation: wanted.specHash}
	return &appsv1.ControllerRevision{ObjectMeta: meta, Data: runtime.RawExtension{Raw: wanted.data}, Revision: number}
}

// keepRevision stores the target revision before a pod runs it.
func (r *Reconciler) keepRevision(ctx context.Context, s *scope) error {
	if s.target.stored {
		return nil
	}
	number := int64(1)
	for _, stored := range s.revisions {
		number = max(number, stored.Revision+1)
	}
	object := desiredRevision(s.agent, s.target, number)
	err := r.Client.Create(ctx, object, client.FieldOwner(reconcile.FieldOwner))
	if apierrors.IsAlreadyExists(err) {
		return r.meetRevision(ctx, s)
	}
	if err != nil {
		return fmt.Errorf("create ControllerRevision %s: %w", object.Name, err)
	}
	s.target.stored = true
	s.revisions = append(s.revisions, *object)
	return nil
}

// meetRevision takes up a revision that the cache did not show. What is stored
// counts: its image may be another than today's default.
func (r *Reconciler) meetRevision(ctx context.Context, s *scope) error {
	stored := &appsv1.ControllerRevision{}
	if err := r.Live.Get(ctx, client.ObjectKey{Namespace: s.agent.Namespace, Name: s.target.name}, stored); err != nil {
		return fmt.Errorf("read the revision that exists already: %w", err)
	}
	if !metav1.IsControlledBy(stored, s.agent) {
		return &reconcile.NotOwnedError{Kind: "ControllerRevision", Name: stored.Name}
	}
	found, err := decodeRevision(stored)
	if err != nil {
		return err
	}
	s.target = found
	return nil
}

// forgetRevisions deletes the oldest revisions beyond the history that nothing
// refers to.
func (r *Reconciler) forgetRevisions(ctx context.Context, s *scope) error {
	for _, old := range forgettable(s.revisions, s.revisionsInUse()) {
		err := r.Client.Delete(ctx, &old, client.Preconditions{UID: new(old.UID)})
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete ControllerRevision %s: %w", old.Name, err)
		}
	}
	return nil
}

// revisionsInUse are the names that the spec or the status speaks of.
func (s *scope) revisionsInUse() []string {
	used := []string{s.wanted.name, s.target.name}
	if told := s.agent.Status.Revision; told != nil {
		used = append(used, told.Current, told.Good)
	}
	return used
}

func forgettable(stored []appsv1.ControllerRevision, used []string) []appsv1.ControllerRevision {
	excess := len(stored) - revisionHistory
	if excess <= 0 {
		return nil
	}
	oldest := slices.SortedFunc(slices.Values(stored), func(a, b appsv1.ControllerRevision) int { return int(a.Revision - b.Revision) })
	oldest = slices.DeleteFunc(oldest, func(candidate appsv1.ControllerRevision) bool { return slices.Contains(used, candidate.Name) })
	return oldest[:min(excess, len(oldest))]
}

package webhookcert

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"sync"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

const namespace = "trading-system"

// system is an API server with the webhook configuration, and the operator's clock.
type system struct {
	client client.WithWatch
	clock  *clocktesting.FakePassiveClock
	writes int
}

func newSystem() *system {
	s := &system{clock: clocktesting.NewFakePassiveClock(time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC))}
	configuration := &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: ConfigurationName},
		Webhooks:   []admissionregistrationv1.ValidatingWebhook{{Name: "a.example.com"}, {Name: "b.example.com"}},
	}
	var mu sync.Mutex
	count := func() {
		mu.Lock()
		defer mu.Unlock()
		s.writes++
	}
	s.client = fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(configuration).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.CreateOption) error {
			count()
			return c.Create(ctx, object, options...)
		},
		Update: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.UpdateOption) error {
			count()
			return c.Update(ctx, object, options...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, object client.Object, patch client.Patch, options ...client.PatchOption) error {
			count()
			return c.Patch(ctx, object, patch, options...)
		},
	}).Build()
	return s
}

func (s *system) keeper() *Keeper {
	return &Keeper{Client: s.client, Namespace: namespace, Clock: s.clock}
}

func (s *system) pass(span time.Duration) { s.clock.SetTime(s.clock.Now().Add(span)) }

func keep(t *testing.T, keeper *Keeper) {
	t.Helper()
	if err := keeper.Keep(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// bundle is what the API server trusts.
func (s *system) bundle(t *testing.T) []byte {
	t.Helper()
	configuration := &admissionregistrationv1.ValidatingWebhookConfiguration{}
	if err := s.client.Get(t.Context(), client.ObjectKey{Name: ConfigurationName}, configuration); err != nil {
		t.Fatal(err)
	}
	first := configuration.Webhooks[0].ClientConfig.CABundle
	if !bytes.Equal(first, configuration.Webhooks[1].ClientConfig.CABundle) {
		t.Error("the webhooks trust different CAs")
	}
	return first
}

// served is the certificate that a replica serves; the test fails if the API server
// does not believe it.
func (s *system) served(t *testing.T, keeper *Keeper) *x509.Certificate {
	t.Helper()
	pair, err := keeper.GetCertificate(&tls.ClientHelloInfo{})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.bundle(t))
	for _, name := range serviceNames(namespace) {
		if _, err := leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: s.clock.Now()}); err != nil {
			t.Errorf("the API server does not believe the webhook: %v", err)
		}
	}
	return leaf
}

func TestReplicasShareOneCertificate(t *testing.T) {
	s := newSystem()
	first, second := s.keeper(), s.keeper()
	if _, err := first.GetCertificate(nil); err == nil {
		t.Error("a certificate before there is one")
	}
	keep(t, first)
	keep(t, second)
	if !s.served(t, first).Equal(s.served(t, second)) {
		t.Error("the replicas serve different certificates")
	}
	before := s.writes
	s.pass(30 * day)
	keep(t, first)
	if s.writes != before {
		t.Errorf("%d writes while nothing is due", s.writes-before)
	}
}

func TestRenewals(t *testing.T) {
	s := newSystem()
	first, second := s.keeper(), s.keeper()
	keep(t, first)
	keep(t, second)
	leaf, ca := s.served(t, first), s.bundle(t)
	s.pass(61 * day)
	keep(t, first)
	if s.served(t, first).Equal(leaf) || !bytes.Equal(s.bundle(t), ca) {
		t.Error("after two thirds of its lifetime the certificate is not a new one of the same CA")
	}
	s.served(t, second)

	s.pass(2300 * day)
	keep(t, first)
	keep(t, second)
	old := s.served(t, second)
	s.pass(100 * day)
	keep(t, first)
	if bytes.Equal(s.bundle(t), ca) {
		t.Error("after two thirds of its lifetime the CA is not a new one")
	}
	if !bytes.Contains(s.bundle(t), bytes.TrimSpace(ca)) {
		t.Error("the former CA is not trusted any more, while the second replica serves by it")
	}
	s.served(t, first)
	s.pass(-100 * day)
	if !s.served(t, second).Equal(old) {
		t.Error("the second replica has looked though it has not")
	}
	s.pass(1500 * day)
	keep(t, first)
	if bytes.Contains(s.bundle(t), bytes.TrimSpace(ca)) {
		t.Error("a CA that has ended is still trusted")
	}
	s.served(t, first)
}

func TestDamageIsRepaired(t *testing.T) {
	for name, damage := range map[string]func(*corev1.Secret){
		"another key":        func(s *corev1.Secret) { s.Data[corev1.TLSPrivateKeyKey] = s.Data[caPrivateKey] },
		"no key":             func(s *corev1.Secret) { delete(s.Data, corev1.TLSPrivateKeyKey) },
		"no CA":              func(s *corev1.Secret) { delete(s.Data, caKey) },
		"another CA's key":   func(s *corev1.Secret) { s.Data[caPrivateKey] = s.Data[corev1.TLSPrivateKeyKey] },
		"rubbish everywhere": func(s *corev1.Secret) { s.Data = map[string][]byte{caKey: []byte("x"), corev1.TLSCertKey: []byte("y")} },
		"nothing":            func(s *corev1.Secret) { s.Data = nil },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSystem()
			keeper := s.keeper()
			keep(t, keeper)
			secret := &corev1.Secret{}
			if err := s.client.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: SecretName}, secret); err != nil {
				t.Fatal(err)
			}
			damage(secret)
			if err := s.client.Update(t.Context(), secret); err != nil {
				t.Fatal(err)
			}
			keep(t, keeper)
			s.served(t, keeper)
		})
	}
}

// Of two replicas that make a certificate at once, one is refused, and serves the
// other's with its next look.
func TestReplicasAtOnce(t *testing.T) {
	s := newSystem()
	first, second := s.keeper(), s.keeper()
	second.Client = interceptor.NewClient(s.client, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.CreateOption) error {
			if err := first.Keep(ctx); err != nil {
				return err
			}
			return c.Create(ctx, object, options...)
		},
	})
	if err := second.Keep(t.Context()); !apierrors.IsAlreadyExists(err) {
		t.Fatalf("got %v, want that the Secret exists", err)
	}
	keep(t, second)
	if !s.served(t, first).Equal(s.served(t, second)) {
		t.Error("the replicas serve different certificates")
	}
}

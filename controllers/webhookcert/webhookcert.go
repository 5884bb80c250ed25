// Package webhookcert keeps the admission webhook's certificate where no
// cert-manager does: it makes a CA and a certificate, stores them in a Secret that
// all replicas of the operator share, renews them, and tells the API server whom to
// trust.
package webhookcert

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

const (
	// SecretName is the Secret with the webhook's certificate.
	SecretName = "trading-operator-webhook"
	// ConfigurationName is the webhook configuration that is told of the CA.
	ConfigurationName = "trading-operator"

	caKey, caPrivateKey = "ca.crt", "ca.key"

	// lookEvery is how often each replica looks at the Secret. Another replica may
	// have renewed the certificate; the old one is valid for a month then.
	lookEvery = 10 * time.Minute
	// retryEvery is the pause after a failure.
	retryEvery = 5 * time.Second
)

// Keeper keeps the webhook's certificate for one replica of the operator.
type Keeper struct {
	// Client reads past any cache, and writes.
	Client client.Client
	// Namespace of the operator, and of its webhook's Service.
	Namespace string
	Clock     clock.PassiveClock

	mu      sync.Mutex
	current *tls.Certificate
}

// GetCertificate serves the certificate; it is a tls.Config's.
func (k *Keeper) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.current == nil {
		return nil, errors.New("the webhook has no certificate yet")
	}
	return k.current, nil
}

// NeedLeaderElection is false: every replica serves the webhook.
func (k *Keeper) NeedLeaderElection() bool { return false }

// Start keeps the certificate until the context ends.
func (k *Keeper) Start(ctx context.Context) error {
	for {
		pause := lookEvery
		if err := k.Keep(ctx); err != nil && ctx.Err() == nil {
			log.FromContext(ctx).Error(err, "the webhook's certificate is not in order; it is tried again")
			pause = retryEvery
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

// Keep brings Secret, webhook configuration and this replica to the same
// certificate, and renews what has used up two thirds of its lifetime.
func (k *Keeper) Keep(ctx context.Context) error {
	secret, err := k.secret(ctx)
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return fmt.Errorf("read Secret %s: the certificate and its key do not fit", SecretName)
	}
	// The API server must trust the new CA before anybody serves by it.
	if err := k.inject(ctx, secret.Data[caKey]); err != nil {
		return err
	}
	k.mu.Lock()
	k.current = &pair
	k.mu.Unlock()
	return nil
}

// secret reads the Secret, and writes it where it is missing, damaged or due. Of two
// replicas that write at once, the second is refused and takes what the first wrote.
func (k *Keeper) secret(ctx context.Context) (*corev1.Secret, error) {
	stored := &corev1.Secret{}
	err := k.Client.Get(ctx, client.ObjectKey{Namespace: k.Namespace, Name: SecretName}, stored)
	missing := apierrors.IsNotFound(err)
	if err != nil && !missing {
		return nil, fmt.Errorf("read Secret %s: %w", SecretName, err)
	}
	data, changed, err := renew(stored.Data, k.Namespace, k.Clock.Now())
	if err != nil || !missing && !changed {
		return stored, err
	}
	stored.Data = data
	if missing {
		stored.ObjectMeta = metav1.ObjectMeta{Namespace: k.Namespace, Name: SecretName, Labels: map[string]string{
			"app.kubernetes.io/name": "trading-operator", "app.kubernetes.io/part-of": "trading-operator",
		}}
		stored.Type = corev1.SecretTypeTLS
		err = k.Client.Create(ctx, stored, client.FieldOwner(reconcile.FieldOwner))
	} else {
		err = k.Client.Update(ctx, stored, client.FieldOwner(reconcile.FieldOwner))
	}
	if err != nil {
		return nil, fmt.Errorf("write Secret %s: %w", SecretName, err)
	}
	log.FromContext(ctx).Info("the webhook has a new certificate")
	return stored, nil
}

// inject has the API server trust the CA.
func (k *Keeper) inject(ctx context.Context, ca []byte) error {
	configuration := &admissionregistrationv1.ValidatingWebhookConfiguration{}
	if err := k.Client.Get(ctx, client.ObjectKey{Name: ConfigurationName}, configuration); err != nil {
		return fmt.Errorf("read the webhook configuration %s: %w", ConfigurationName, err)
	}
	before, changed := configuration.DeepCopy(), false
	for i := range configuration.Webhooks {
		if !bytes.Equal(configuration.Webhooks[i].ClientConfig.CABundle, ca) {
			configuration.Webhooks[i].ClientConfig.CABundle, changed = ca, true
		}
	}
	if !changed {
		return nil
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := k.Client.Patch(ctx, configuration, patch, client.FieldOwner(reconcile.FieldOwner)); err != nil {
		return fmt.Errorf("write the CA into the webhook configuration %s: %w", ConfigurationName, err)
	}
	return nil
}

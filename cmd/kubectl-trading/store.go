package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/internal/link"
	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
	"github.com/three-rivers-tech/trading-operator/internal/server/keys/keycmd"
)

// agentHTTPPort is where an agent's pod has its metrics.
const agentHTTPPort = 8080

// metricsTimeout bounds how long a list waits for the agent's pod.
const metricsTimeout = 5 * time.Second

// secretStore is the Secret with the keys of one agent.
type secretStore struct {
	config *rest.Config
	client client.Client
	agent  *v1alpha1.TradingAgent
	name   types.NamespacedName
}

var _ keycmd.Store = (*secretStore)(nil)

// openStore finds the agent, so that a key is never made for one that does not
// exist.
func openStore(ctx context.Context, kubeconfig clientcmd.ClientConfig, agent string) (*secretStore, error) {
	config, err := kubeconfig.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("find the API server: %w", err)
	}
	namespace, _, err := kubeconfig.Namespace()
	if err != nil {
		return nil, fmt.Errorf("find the namespace: %w", err)
	}
	return newSecretStore(ctx, config, namespace, agent)
}

func newSecretStore(ctx context.Context, config *rest.Config, namespace, agent string) (*secretStore, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, fmt.Errorf("register the kinds: %w", err)
	}
	made, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("prepare to ask the API server: %w", err)
	}
	s := &secretStore{
		config: config, client: made, agent: &v1alpha1.TradingAgent{},
		name: types.NamespacedName{Namespace: namespace, Name: link.KeysSecret(agent)},
	}
	if err := made.Get(ctx, types.NamespacedName{Namespace: namespace, Name: agent}, s.agent); err != nil {
		return nil, fmt.Errorf("find the agent: %w", err)
	}
	return s, nil
}

// Read implements keycmd.Store.
func (s *secretStore) Read(ctx context.Context) (map[string][]byte, error) {
	secret := &corev1.Secret{}
	if err := client.IgnoreNotFound(s.client.Get(ctx, s.name, secret)); err != nil {
		return nil, fmt.Errorf("read the keys: %w", err)
	}
	return secret.Data, nil
}

// Change implements keycmd.Store. Nobody's edit is lost: the Secret is written as it
// was read, or read again.
func (s *secretStore) Change(ctx context.Context, edit func(map[string][]byte) (map[string][]byte, error)) error {
	err := retry.OnError(retry.DefaultRetry, func(err error) bool {
		return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err)
	}, func() error {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.name.Namespace, Name: s.name.Name}}
		err := s.client.Get(ctx, s.name, secret)
		missing := apierrors.IsNotFound(err)
		if err != nil && !missing {
			return fmt.Errorf("read the keys: %w", err)
		}
		if !link.OwnsKeys(secret, s.agent.UID) {
			return fmt.Errorf("secret %q belongs to an earlier agent of this name and is about to go; try again in a minute", s.name.Name)
		}
		changed, err := edit(maps.Clone(secret.Data))
		if err != nil {
			return err
		}
		secret.Data = changed
		if missing {
			// A later agent of the same name does not inherit the keys.
			secret.OwnerReferences = []metav1.OwnerReference{{
				APIVersion: v1alpha1.GroupVersion.String(), Kind: "TradingAgent", Name: s.agent.Name, UID: s.agent.UID,
			}}
			return s.client.Create(ctx, secret)
		}
		return s.client.Update(ctx, secret)
	})
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("others keep changing the keys; try again: %w", err)
	}
	return err
}

// LastUses implements keycmd.Store. The agent knows, and tells it in its metrics,
// which the API server fetches for whoever may use the proxy of its pod.
func (s *secretStore) LastUses(ctx context.Context) (map[string]time.Time, error) {
	if s.agent.Status.PodName == "" {
		return nil, errors.New("the agent has no pod")
	}
	ctx, cancel := context.WithTimeout(ctx, metricsTimeout)
	defer cancel()
	address, transport, err := s.metrics()
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("ask the agent's pod: %w", err)
	}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return nil, fmt.Errorf("ask the agent's pod: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask the agent's pod: the answer is %s; you may need the right to get pods/proxy", answer.Status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(answer.Body)
	if err != nil {
		return nil, fmt.Errorf("read the metrics of the agent's pod: %w", err)
	}
	uses := map[string]time.Time{}
	for _, metric := range families[keys.LastUseMetric].GetMetric() {
		for _, label := range metric.GetLabel() {
			if label.GetName() == "id" {
				uses[label.GetValue()] = time.UnixMilli(int64(metric.GetGauge().GetValue() * 1000)).UTC()
			}
		}
	}
	return uses, nil
}

// metrics is where the API server passes the metrics of the agent's pod on.
func (s *secretStore) metrics() (address string, transport http.RoundTripper, err error) {
	base, _, err := rest.DefaultServerUrlFor(s.config)
	if err != nil {
		return "", nil, fmt.Errorf("find the API server: %w", err)
	}
	transport, err = rest.TransportFor(s.config)
	if err != nil {
		return "", nil, fmt.Errorf("prepare to ask the API server: %w", err)
	}
	pod := s.agent.Status.PodName + ":" + strconv.Itoa(agentHTTPPort)
	return base.JoinPath("api/v1/namespaces", s.agent.Namespace, "pods", pod, "proxy/metrics").String(), transport, nil
}

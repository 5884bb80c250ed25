package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/test/postgres"
)

const (
	operatorNamespace = "trading-system"

	// deskAgents is how many agents share a namespace. The API server holds every
	// new agent against each policy and account of its namespace, so what a write
	// costs grows with a desk, and not with the number of desks.
	deskAgents = 100

	ledgerName = "main"
	ledgerKey  = "uri"

	// workers is how many requests every client of the benchmark has under way
	// at once. More gain nothing on a machine with few cores.
	workers = 16
)

// shape of the desks that are measured.
type shape struct {
	agents int
	// pairs of each desk; as many agents share an account, one pair each.
	pairs int
	// policies that the agents of all desks are spread over, if there are as many
	// as desks.
	policies int
}

func (s shape) desks() int { return (s.agents + deskAgents - 1) / deskAgents }

// accounts and deskPolicies are those of one desk.
func (s shape) accounts() int     { return (min(s.agents, deskAgents) + s.pairs - 1) / s.pairs }
func (s shape) deskPolicies() int { return max(1, s.policies/s.desks()) }

func (s shape) allPolicies() int { return s.desks() * s.deskPolicies() }

// boundBy is how many agents the i-th of all policies binds.
func (s shape) boundBy(i int) int {
	bound, first := 0, i/s.deskPolicies()*deskAgents
	for seat := range max(0, min(s.agents-first, deskAgents)) {
		if seat%s.deskPolicies() == i%s.deskPolicies() {
			bound++
		}
	}
	return bound
}

func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	return scheme, errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme))
}

func deskName(i int) string    { return fmt.Sprintf("desk-%03d", i) }
func agentName(i int) string   { return fmt.Sprintf("agent-%05d", i) }
func policyName(i int) string  { return fmt.Sprintf("policy-%03d", i) }
func accountName(i int) string { return fmt.Sprintf("account-%04d", i) }
func pairName(i int) string    { return fmt.Sprintf("c%04d-usd", i) }

func inDesk(desk int, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: deskName(desk), Name: name}
}

// agentMeta and policyMeta are where the i-th of all agents and policies is. Their
// names tell them apart on all desks.
func agentMeta(i int) metav1.ObjectMeta { return inDesk(i/deskAgents, agentName(i)) }
func (s shape) policyMeta(i int) metav1.ObjectMeta {
	return inDesk(i/s.deskPolicies(), policyName(i))
}

// furniture is everything that the agents of a desk refer to. The ledger's
// connection is uri.
func furniture(s shape, desk int, uri string) []client.Object {
	objects := make([]client.Object, 0, 2+s.deskPolicies()+s.accounts()+s.pairs)
	objects = append(objects,
		&corev1.Secret{ObjectMeta: inDesk(desk, "ledger"), StringData: map[string]string{ledgerKey: uri}},
		&v1alpha1.Ledger{ObjectMeta: inDesk(desk, ledgerName), Spec: v1alpha1.LedgerSpec{URISecretRef: v1alpha1.SecretKeyReference{Name: "ledger", Key: ledgerKey}}},
	)
	for i := range s.deskPolicies() {
		objects = append(objects, &v1alpha1.RiskPolicy{ObjectMeta: s.policyMeta(desk*s.deskPolicies() + i), Spec: v1alpha1.RiskPolicySpec{
			Trading: v1alpha1.TradingEnabled, Currency: "USD",
			Order: v1alpha1.OrderLimits{MaxNotional: "1000"},
			Agent: v1alpha1.AgentLimits{MaxDrawdownFraction: "0.15", MaxTradesPerDay: new(int32(5))},
		}})
	}
	for i := range s.accounts() {
		objects = append(objects, &v1alpha1.TradingAccount{ObjectMeta: inDesk(desk, accountName(i)), Spec: v1alpha1.TradingAccountSpec{
			Venue: v1alpha1.VenuePaper, LedgerRef: v1alpha1.ObjectReference{Name: ledgerName},
			Paper: &v1alpha1.PaperAccountSpec{Currency: "USD", Balance: "10000"},
		}})
	}
	for i := range s.pairs {
		objects = append(objects, &v1alpha1.AssetPair{ObjectMeta: inDesk(desk, pairName(i)), Spec: v1alpha1.AssetPairSpec{
			Base: v1alpha1.Currency(fmt.Sprintf("C%04d", i)), Quote: "USD", TickSize: "0.01", LotSize: "1",
		}})
	}
	return objects
}

// recordingName is a data set of the desk's own; what ships inside the agent has
// the prices of a few pairs only.
const recordingName = "desk/prices"

// agent is the i-th of all: alone with its pair on its account.
func agent(s shape, i int) *v1alpha1.TradingAgent {
	desk, seat := i/deskAgents, i%deskAgents
	return &v1alpha1.TradingAgent{ObjectMeta: agentMeta(i), Spec: v1alpha1.TradingAgentSpec{
		Mode: v1alpha1.ModePaper, Trading: v1alpha1.TradingEnabled,
		AccountRef:    v1alpha1.ObjectReference{Name: accountName(seat / s.pairs)},
		RiskPolicyRef: v1alpha1.ObjectReference{Name: policyName(desk*s.deskPolicies() + seat%s.deskPolicies())},
		AssetPairs:    []v1alpha1.AssetPairSelector{{Name: pairName(seat % s.pairs)}},
		MarketData:    v1alpha1.MarketDataSpec{Source: v1alpha1.DataSourceReplay, Replay: &v1alpha1.ReplaySpec{Dataset: recordingName}},
	}}
}

// each calls a function for 0 to n-1 by the clients' workers.
func each(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error { return do(ctx, i) })
	}
	return group.Wait()
}

// install brings the kinds, the operator's rights, what config/admission refuses
// and config/flowcontrol prefers without our pods, and the desks' furniture into an
// empty cluster.
func (p *plane) install(ctx context.Context, repository string, s shape, uri string) error {
	crds := envtest.CRDInstallOptions{Paths: []string{filepath.Join(repository, "config", "crd", "bases")}, ErrorIfPathMissing: true}
	if _, err := envtest.InstallCRDs(p.config, crds); err != nil {
		return fmt.Errorf("install the kinds: %w", err)
	}
	config := filepath.Join(repository, "config")
	manifests, err := manifestsIn(filepath.Join(config, "rbac"), filepath.Join(config, "admission"), filepath.Join(config, "flowcontrol"))
	if err != nil {
		return err
	}
	namespaces := []client.Object{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: operatorNamespace}}}
	var objects []client.Object
	for desk := range s.desks() {
		namespaces = append(namespaces, deskNamespace(desk, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}))
		objects = append(objects, furniture(s, desk, uri)...)
	}
	for _, object := range append(namespaces, manifests...) {
		if err := p.admin.Create(ctx, object); err != nil {
			return fmt.Errorf("install %s %s: %w", object.GetObjectKind().GroupVersionKind().Kind, object.GetName(), err)
		}
	}
	return each(ctx, len(objects), func(ctx context.Context, i int) error {
		if err := p.admin.Create(ctx, objects[i]); err != nil {
			return fmt.Errorf("create %T %s: %w", objects[i], objects[i].GetName(), err)
		}
		return nil
	})
}

func deskNamespace(desk int, labels map[string]string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: deskName(desk), Labels: labels}}
}

// manifestsIn reads every manifest of some folders. A folder may be missing.
func manifestsIn(folders ...string) ([]client.Object, error) {
	var objects []client.Object
	for _, folder := range folders {
		entries, err := os.ReadDir(folder)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			if filepath.Ext(entry.Name()) != ".yaml" || entry.Name() == "kustomization.yaml" {
				continue
			}
			found, err := manifestsOf(os.DirFS(folder), entry.Name())
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", filepath.Join(folder, entry.Name()), err)
			}
			objects = append(objects, found...)
		}
	}
	return objects, nil
}

func manifestsOf(folder fs.FS, name string) ([]client.Object, error) {
	content, err := fs.ReadFile(folder, name)
	if err != nil {
		return nil, err
	}
	var objects []client.Object
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(string(content)), 4096)
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(object)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
}

// newDatabase makes an empty database on a server, owned by an ordinary user as
// a ledger's is, and returns its connection URI.
func newDatabase(ctx context.Context, server *postgres.Server, name string) (string, error) {
	connection, err := pgx.Connect(ctx, server.AdminURI())
	if err != nil {
		return "", fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	password := rand.Text()
	for _, statement := range []string{
		fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'", name, password),
		fmt.Sprintf("CREATE DATABASE %s OWNER %s", name, name),
	} {
		if _, err := connection.Exec(ctx, statement); err != nil {
			return "", errors.Join(fmt.Errorf("make a database: %w", err), connection.Close(ctx))
		}
	}
	uri, err := url.Parse(server.AdminURI())
	if err != nil {
		return "", errors.Join(err, connection.Close(ctx))
	}
	uri.User, uri.Path = url.UserPassword(name, password), name
	return uri.String(), connection.Close(ctx)
}

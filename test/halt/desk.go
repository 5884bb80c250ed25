package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

func metadata(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}

// furnish makes the agents of the crowd, and what other clients read.
func furnish(ctx context.Context, admin client.Client, opts options) error {
	if err := admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil {
		return err
	}
	rights := &rbacv1.Role{ObjectMeta: metadata("agents"), Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{v1alpha1.GroupName}, Resources: []string{"*"}, Verbs: []string{"get", "list", "watch"}},
		{APIGroups: []string{v1alpha1.GroupName}, Resources: []string{"tradingagents/status"}, Verbs: []string{"patch"}},
	}}
	binding := &rbacv1.RoleBinding{ObjectMeta: metadata("agents"), RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "agents"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: "system:serviceaccounts:" + namespace}}}
	for _, object := range []client.Object{rights, binding} {
		if err := admin.Create(ctx, object); err != nil {
			return err
		}
	}
	for i := range opts.crowd() {
		if err := admin.Create(ctx, manifest(i)); err != nil {
			return err
		}
	}
	for i := range opts.objects {
		object := &corev1.ConfigMap{ObjectMeta: metadata(fmt.Sprintf("ballast-%05d", i)), Data: map[string]string{"content": fmt.Sprintf("%0512d", i)}}
		if err := admin.Create(ctx, object); err != nil {
			return err
		}
	}
	return nil
}

// assign names the process that runs each agent of the crowd, as the operator
// names an agent's pod. It is done when no operator is there that knows better.
func assign(ctx context.Context, admin client.Client, crowd int) error {
	for i := range crowd {
		named := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"status":{"observedGeneration":1,"podName":"bench","podUID":%q}}`, podUID(i)))
		if err := admin.Status().Patch(ctx, manifest(i), named); err != nil {
			return err
		}
	}
	return nil
}

// manifest of an agent of the crowd. There is no account of its name, so an
// operator starts no pod for it.
func manifest(index int) *v1alpha1.TradingAgent {
	return &v1alpha1.TradingAgent{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "TradingAgent"},
		ObjectMeta: metadata(agentName(index)),
		Spec: v1alpha1.TradingAgentSpec{
			Mode: v1alpha1.ModePaper, Trading: v1alpha1.TradingEnabled,
			AccountRef: v1alpha1.ObjectReference{Name: agentName(index)}, RiskPolicyRef: v1alpha1.ObjectReference{Name: "careful"},
			AssetPairs: []v1alpha1.AssetPairSelector{{Name: "EUR-USD"}},
			MarketData: v1alpha1.MarketDataSpec{Source: v1alpha1.DataSourceReplay, Replay: &v1alpha1.ReplaySpec{Dataset: "sample/eurusd-1h"}},
		},
	}
}

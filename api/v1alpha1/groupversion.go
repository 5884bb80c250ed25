package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupName is the API group of every kind of the desk.
const GroupName = "trading.three-rivers-tech.com"

// GroupVersion is the group and version of the kinds in this package.
var GroupVersion = schema.GroupVersion{Group: GroupName, Version: "v1alpha1"}

// SchemeGroupVersion is GroupVersion under the name that generated clients expect.
var SchemeGroupVersion = GroupVersion

var schemeBuilder = runtime.NewSchemeBuilder(func(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&TradingAgent{}, &TradingAgentList{},
		&TradingAccount{}, &TradingAccountList{},
		&RiskPolicy{}, &RiskPolicyList{},
		&AssetPair{}, &AssetPairList{},
		&Ledger{}, &LedgerList{},
		&TradingHalt{}, &TradingHaltList{},
		&ClusterTradingHalt{}, &ClusterTradingHaltList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
})

// AddToScheme registers the kinds of this package.
var AddToScheme = schemeBuilder.AddToScheme

// Resource qualifies a resource name with this package's group.
func Resource(resource string) schema.GroupResource {
	return GroupVersion.WithResource(resource).GroupResource()
}

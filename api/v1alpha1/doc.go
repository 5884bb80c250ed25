// Package v1alpha1 holds the nouns of the trading desk: the custom resources a
// person writes, the words their status speaks, their defaults and validators.
//
// Everything here is pure. The operator, the admission webhook and the agent
// (in a pod, on a laptop or in a backtest) share it, so there is one schema and
// one answer to what a manifest means.
//
// +kubebuilder:object:generate=true
// +kubebuilder:ac:generate=true
// +kubebuilder:ac:output:package=applyconfiguration
// +groupName=trading.three-rivers-tech.com
package v1alpha1

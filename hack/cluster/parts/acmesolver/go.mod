module github.com/three-rivers-tech/trading-operator/hack/cluster/parts/acmesolver

go 1.26.0

require (
	github.com/cert-manager/cert-manager v1.21.2
	github.com/go-logr/logr v1.4.4
)

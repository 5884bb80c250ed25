package main

import (
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/cert-manager/cert-manager/pkg/controller"
)

const (
	// challenges that may be under way at once; upstream's default.
	challenges = 60
	// checkEvery is how often a DNS record is looked for. Here it is seen at once;
	// on the internet it takes minutes.
	checkEvery = time.Second
)

// acmeFlags say how ACME challenges are answered; a build without the tag acme
// has nothing that looks at them.
type acmeFlags struct {
	solver, nameserver string
	gateway            bool
}

// into completes options by those of the ACME controllers.
func (f acmeFlags) into(options controller.ContextOptions) controller.ContextOptions {
	options.SchedulerOptions.MaxConcurrentChallenges = challenges
	options.EnableGatewayAPI = f.gateway
	options.GatewayAPIExtraProtocols = sets.Set[string]{}
	options.ACMEOptions = controller.ACMEOptions{
		HTTP01SolverImage:                 f.solver,
		HTTP01SolverResourceRequestCPU:    resource.MustParse("10m"),
		HTTP01SolverResourceRequestMemory: resource.MustParse("16Mi"),
		HTTP01SolverResourceLimitsCPU:     resource.MustParse("100m"),
		HTTP01SolverResourceLimitsMemory:  resource.MustParse("64Mi"),
		ACMEHTTP01SolverRunAsNonRoot:      true,
		DNS01CheckRetryPeriod:             checkEvery,
	}
	if f.nameserver != "" {
		options.HTTP01SolverNameservers = []string{f.nameserver}
		options.DNS01Nameservers = []string{f.nameserver}
	}
	return options
}

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// agentImage that the pods name; kwok pulls none.
const agentImage = "registry.example/trading-agent:scale"

// operator is one replica of the manager.
type operator struct {
	*process
	metrics, pprof string
}

// startOperator starts a replica with the rights of config/rbac.
func (p *plane) startOperator(b *bench, name string) (*operator, error) {
	if p.kubeconfig == "" {
		var err error
		if p.kubeconfig, err = p.addUser(operatorUser, serviceAccountGroups(operatorNamespace)...); err != nil {
			return nil, err
		}
	}
	addresses, err := freeAddresses(3)
	if err != nil {
		return nil, err
	}
	args := []string{
		"--agent-image=" + agentImage,
		"--leader-elect=true", "--leader-election-namespace=" + operatorNamespace,
		// The webhook needs a certificate that the API server trusts, and judges
		// what users write, which is not measured here.
		"--webhooks=false",
		"--metrics-bind-address=" + addresses[0], "--pprof-bind-address=" + addresses[1], "--health-probe-bind-address=" + addresses[2],
	}
	if b.lease > 0 {
		args = append(args, fmt.Sprintf("--leader-elect-lease-duration=%s", b.lease))
	}
	if b.concurrency > 0 {
		args = append(args, fmt.Sprintf("--max-concurrent-reconciles=%d", b.concurrency))
	}
	started, err := startProcess(p.dir, name, b.manager, []string{"KUBECONFIG=" + p.kubeconfig}, args...)
	if err != nil {
		return nil, err
	}
	p.processes = append(p.processes, started)
	return &operator{process: started, metrics: "http://" + addresses[0] + "/metrics", pprof: "http://" + addresses[1]}, nil
}

// freeAddresses are loopback addresses that nobody listens on.
func freeAddresses(n int) ([]string, error) {
	addresses := make([]string, n)
	for i := range addresses {
		listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return nil, err
		}
		// Held until all are found, so that no two are the same.
		defer func() { _ = listener.Close() }()
		addresses[i] = listener.Addr().String()
	}
	return addresses, nil
}

// get reads a page.
func get(ctx context.Context, httpClient *http.Client, url string, take func(io.Reader) error) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	response, err := httpClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	return take(response.Body)
}

// families are the operator's metrics.
type families map[string]*dto.MetricFamily

func (o *operator) scrape(ctx context.Context) (families, error) {
	var found families
	err := get(ctx, http.DefaultClient, o.metrics, func(body io.Reader) error {
		parser := expfmt.NewTextParser(model.UTF8Validation)
		parsed, err := parser.TextToMetricFamilies(body)
		found = parsed
		return err
	})
	return found, err
}

// sum adds up a family's values.
func (f families) sum(name string) float64 {
	var total float64
	for _, metric := range f[name].GetMetric() {
		total += metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + metric.GetUntyped().GetValue()
	}
	return total
}

// passes is how many reconciles the replica has done.
func (f families) passes() float64 { return f.sum("controller_runtime_reconcile_total") }

// queued is how many objects wait for a reconcile.
func (f families) queued() float64 { return f.sum("workqueue_depth") }

func (f families) leads() bool { return f.sum("leader_election_master_status") > 0 }

// awaitLead waits until the replica leads and has settled what it found.
func (o *operator) awaitLead(ctx context.Context) error {
	return poll(ctx, 100*time.Millisecond, startDeadline, o.name+" leads", func(ctx context.Context) (bool, error) {
		found, err := o.scrape(ctx)
		return err == nil && found.leads(), err
	})
}

// heap is how many bytes of the heap are in use, and how many of them by objects,
// after what is garbage has been collected.
func (o *operator) heap(ctx context.Context) (inUse, live float64, err error) {
	// The second collection frees what finalizers and pools had kept from the first.
	for range 2 {
		if err := get(ctx, http.DefaultClient, o.pprof+"/debug/pprof/heap?gc=1", drain); err != nil {
			return 0, 0, fmt.Errorf("collect the operator's garbage: %w", err)
		}
	}
	found, err := o.scrape(ctx)
	if err != nil {
		return 0, 0, err
	}
	return found.sum("go_memstats_heap_inuse_bytes"), found.sum("go_memstats_heap_alloc_bytes"), nil
}

func drain(body io.Reader) error {
	_, err := io.Copy(io.Discard, body)
	return err
}

// save keeps a page, such as a profile, in a file.
func save(ctx context.Context, httpClient *http.Client, url, file string) error {
	return get(ctx, httpClient, url, func(body io.Reader) error {
		out, err := os.Create(file) //nolint:gosec // In the user's own directory.
		if err != nil {
			return err
		}
		defer func() { _ = out.Close() }()
		_, err = io.Copy(out, body)
		return err
	})
}

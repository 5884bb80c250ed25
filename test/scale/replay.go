package main

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// chains are the writes of a recorded run in their order, by the object that
// they are about: an agent's with its children's, a policy's, a pair's. Only
// writes that were done count, because a client that knows beforehand what to
// write has no conflicts and nothing to take back.
func chains(requests []request) map[string][]request {
	found := map[string][]request{}
	for i := range requests {
		r := &requests[i]
		if !r.write() || !r.done() || r.lease() || r.verb == "delete" {
			continue
		}
		subject := subjectOf(r)
		found[subject] = append(found[subject], *r)
	}
	return found
}

// subjectOf is the name of the object that a write is about: the owner of a
// child, what an Event tells of, or the object itself.
func subjectOf(r *request) string {
	var body struct {
		Metadata  metav1.ObjectMeta      `json:"metadata"`
		Regarding corev1.ObjectReference `json:"regarding"`
	}
	// A JSON patch is a list and names nothing.
	if err := json.Unmarshal(r.body, &body); err != nil {
		return r.name
	}
	switch {
	case len(body.Metadata.OwnerReferences) > 0:
		return body.Metadata.OwnerReferences[0].Name
	case body.Regarding.Name != "":
		return body.Regarding.Name
	case r.name != "":
		return r.name
	}
	return body.Metadata.Name
}

// bareWorkers are enough to keep the API server busy although some writes have it
// wait: it judges a Role by a list that must be newer than the request.
const bareWorkers = 64

// bareClient writes what it is told to, and knows nothing of what it writes.
type bareClient struct {
	rest  rest.Interface
	typed client.Client
	// admin creates the agents, as a user does.
	admin client.Client
}

// newBareClient has the operator's rights, because the API server does less for
// an administrator.
func newBareClient(p *plane) (*bareClient, error) {
	user, err := p.environment.AddUser(envtest.User{Name: operatorUser, Groups: serviceAccountGroups(operatorNamespace)}, &rest.Config{QPS: -1})
	if err != nil {
		return nil, fmt.Errorf("add the bare client's user: %w", err)
	}
	config := user.Config()
	typed, err := client.New(config, client.Options{Scheme: p.scheme})
	if err != nil {
		return nil, err
	}
	set, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return &bareClient{rest: set.CoreV1().RESTClient(), typed: typed, admin: p.admin}, nil
}

// podNames find the UID of the recorded pod, and versions what a write was
// guarded by; neither exists here.
var (
	podUID  = regexp.MustCompile(`"podUID":"[^"]*"`)
	version = regexp.MustCompile(`"resourceVersion":"[^"]*",?`)
)

// run creates the desk's agents and does all that was recorded, every agent's
// writes in their order, many agents at once.
func (c *bareClient) run(ctx context.Context, s shape, recorded map[string][]request, uids map[string]types.UID) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(bareWorkers)
	for i := range s.agents {
		group.Go(func() error {
			created := agent(s, i)
			if err := c.admin.Create(ctx, created); err != nil {
				return fmt.Errorf("create an agent: %w", err)
			}
			return c.follow(ctx, recorded[created.Name], string(uids[created.Name]), string(created.UID))
		})
	}
	for subject, chain := range recorded {
		if _, ok := uids[subject]; !ok {
			group.Go(func() error { return c.follow(ctx, chain, "", "") })
		}
	}
	return group.Wait()
}

// follow does a chain of writes, with the UIDs of the objects that exist here.
func (c *bareClient) follow(ctx context.Context, chain []request, oldUID, newUID string) error {
	var pod types.UID
	for i := range chain {
		r := &chain[i]
		body := string(r.body)
		if oldUID != "" {
			body = strings.ReplaceAll(body, oldUID, newUID)
		}
		if pod != "" {
			body = podUID.ReplaceAllString(body, `"podUID":"`+string(pod)+`"`)
		}
		if r.resource == "pods" && r.verb == "create" {
			created, err := c.createPod(ctx, body)
			if err != nil {
				return err
			}
			pod = created
			continue
		}
		if err := c.do(ctx, r, body); err != nil {
			return fmt.Errorf("%s of %s: %w", r.kind(), r.name, err)
		}
	}
	return nil
}

// createPod creates a pod in the encoding that typed clients use.
func (c *bareClient) createPod(ctx context.Context, body string) (types.UID, error) {
	pod := &corev1.Pod{}
	if err := json.Unmarshal([]byte(body), pod); err != nil {
		return "", fmt.Errorf("read a recorded pod: %w", err)
	}
	if err := c.typed.Create(ctx, pod); err != nil {
		return "", fmt.Errorf("create a pod: %w", err)
	}
	return pod.UID, nil
}

// do sends one write to where the recorded one went.
func (c *bareClient) do(ctx context.Context, r *request, body string) error {
	var call *rest.Request
	switch r.verb {
	case "create":
		call = c.rest.Post().SetHeader("Content-Type", "application/json")
	case "update":
		call = c.rest.Put().SetHeader("Content-Type", "application/json")
	case "patch":
		kind := types.MergePatchType
		switch {
		case r.apply():
			kind = types.ApplyPatchType
		case strings.HasPrefix(body, "["):
			kind = types.JSONPatchType
		case r.resource == "events":
			kind = types.StrategicMergePatchType
		}
		body = version.ReplaceAllString(body, "")
		body = strings.ReplaceAll(body, ",}", "}")
		call = c.rest.Patch(kind)
	default:
		return fmt.Errorf("the verb %s cannot be done again", r.verb)
	}
	return call.RequestURI(r.uri).Body([]byte(body)).Do(ctx).Error()
}

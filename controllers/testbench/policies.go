package testbench

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// canary is the policy whose effect tells that all of them are in force: it is
// installed last, and the API server takes them up together.
const canary = "schema-guard"

// installPolicies installs config/admission and waits until it is in force.
func (s *Server) installPolicies(ctx context.Context) error {
	files, err := filepath.Glob(filepath.Join(path("config/admission"), "*.yaml"))
	if err != nil {
		return err
	}
	last := func(file string) int {
		if strings.Contains(file, canary) {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(files, func(a, b string) int { return last(a) - last(b) })
	objects, err := Objects(files...)
	if err != nil {
		return err
	}
	for _, object := range objects {
		if object.GetKind() == "Kustomization" {
			continue
		}
		if err := s.Client.Create(ctx, object); err != nil {
			return err
		}
	}
	return s.awaitPolicies(ctx)
}

// awaitPolicies asks for what the canary refuses, in a dry run, until it does.
func (s *Server) awaitPolicies(ctx context.Context) error {
	scheme := runtime.NewScheme()
	if err := apiextensionsv1.AddToScheme(scheme); err != nil {
		return err
	}
	definitions, err := client.New(s.Config, client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	agents := &apiextensionsv1.CustomResourceDefinition{}
	agents.Name = "tradingagents.trading.three-rivers-tech.com"
	older := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"trading.three-rivers-tech.com/schema-revision":"0"}}}`))
	var answer error
	err = wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		answer = definitions.Patch(ctx, agents.DeepCopy(), older, client.DryRunAll)
		return answer != nil && strings.Contains(answer.Error(), canary), nil
	})
	if err != nil {
		return fmt.Errorf("the admission policies are not in force: %w; the last answer was: %w", err, answer)
	}
	return nil
}

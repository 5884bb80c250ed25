package link

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// Manifests are the desk's objects as found in files.
type Manifests struct {
	Agents   []v1alpha1.TradingAgent
	Accounts []v1alpha1.TradingAccount
	Policies []v1alpha1.RiskPolicy
	Pairs    []v1alpha1.AssetPair
	Ledgers  []v1alpha1.Ledger
}

// LoadFiles reads manifests from YAML and JSON files and, for a directory, from
// the files right in it. Objects of other groups, such as a Namespace, are
// passed over, as kubectl would hand them to others. Every object of the desk is
// judged by the schema that the API server uses; unknown fields are always
// refused. All errors of all files come back together.
func LoadFiles(ctx context.Context, paths []string) (Manifests, error) {
	var manifests Manifests
	var problems []error
	files, err := expand(paths)
	if err != nil {
		return Manifests{}, err
	}
	for _, file := range files {
		text, err := fs.ReadFile(os.DirFS(filepath.Dir(file)), filepath.Base(file))
		if err != nil {
			return Manifests{}, fmt.Errorf("read the manifests: %w", err)
		}
		problems = append(problems, manifests.add(ctx, file, text))
	}
	problems = append(problems, manifests.validate())
	if err := errors.Join(problems...); err != nil {
		return Manifests{}, err
	}
	if len(manifests.Agents) == 0 {
		return Manifests{}, fmt.Errorf("no TradingAgent in %s; name a file or directory that holds one", strings.Join(paths, ", "))
	}
	return manifests, nil
}

func expand(paths []string) ([]string, error) {
	var files []string
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("read the manifests: %w", err)
		}
		if !info.IsDir() {
			files = append(files, path)
			continue
		}
		entries, err := os.ReadDir(path)
		if err != nil {
			return nil, fmt.Errorf("read the manifests: %w", err)
		}
		for _, entry := range entries {
			if !entry.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(entry.Name())) {
				files = append(files, filepath.Join(path, entry.Name()))
			}
		}
	}
	return files, nil
}

// add reads every document of one file.
func (m *Manifests) add(ctx context.Context, file string, text []byte) error {
	var problems []error
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for number := 1; ; number++ {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return errors.Join(problems...)
		}
		if err != nil {
			return errors.Join(append(problems, fmt.Errorf("%s: document %d: %w", file, number, err))...)
		}
		if err := m.addDocument(ctx, document); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", file, err))
		}
	}
}

func (m *Manifests) addDocument(ctx context.Context, document []byte) error {
	var object map[string]any
	if err := yaml.UnmarshalStrict(document, &object); err != nil {
		return fmt.Errorf("not valid YAML: %w", err)
	}
	apiVersion, _ := object["apiVersion"].(string)
	kind, _ := object["kind"].(string)
	group, version, _ := strings.Cut(apiVersion, "/")
	if group != v1alpha1.GroupName {
		return nil
	}
	if version != v1alpha1.GroupVersion.Version {
		return fmt.Errorf("%s has apiVersion %q; this binary knows %q", kind, apiVersion, v1alpha1.GroupVersion)
	}
	schemas, err := loadSchemas()
	if err != nil {
		return err
	}
	schema, known := schemas[kind]
	if !known {
		return fmt.Errorf("%q is not a kind of %s", kind, v1alpha1.GroupVersion)
	}
	if err := schema.check(ctx, object); err != nil {
		return fmt.Errorf("%s %s is invalid: %w", kind, nameOf(object), err)
	}
	switch kind {
	case "TradingAgent":
		return decodeInto(document, &m.Agents)
	case "TradingAccount":
		return decodeInto(document, &m.Accounts)
	case "RiskPolicy":
		return decodeInto(document, &m.Policies)
	case "AssetPair":
		return decodeInto(document, &m.Pairs)
	case "Ledger":
		return decodeInto(document, &m.Ledgers)
	}
	return fmt.Errorf("kind %s has no place in a desk's files", kind)
}

func decodeInto[T any](document []byte, list *[]T) error {
	var object T
	if err := yaml.UnmarshalStrict(document, &object); err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	*list = append(*list, object)
	return nil
}

func nameOf(object map[string]any) string {
	metadata, _ := object["metadata"].(map[string]any)
	name, _ := metadata["name"].(string)
	return fmt.Sprintf("%q", name)
}

// validate runs the validators that admission runs, so that a file and a cluster
// refuse the same.
func (m *Manifests) validate() error {
	var problems []error
	for i := range m.Policies {
		if errs := v1alpha1.ValidateRiskPolicy(&m.Policies[i]); len(errs) > 0 {
			problems = append(problems, fmt.Errorf("RiskPolicy %q is invalid: %w", m.Policies[i].Name, errs.ToAggregate()))
		}
	}
	for i := range m.Pairs {
		if errs := v1alpha1.ValidateAssetPair(&m.Pairs[i], m.Pairs, false); len(errs) > 0 {
			problems = append(problems, fmt.Errorf("AssetPair %q is invalid: %w", m.Pairs[i].Name, errs.ToAggregate()))
		}
	}
	for i := range m.Accounts {
		if errs := v1alpha1.ValidateTradingAccount(&m.Accounts[i]); len(errs) > 0 {
			problems = append(problems, fmt.Errorf("TradingAccount %q is invalid: %w", m.Accounts[i].Name, errs.ToAggregate()))
		}
	}
	for i := range m.Agents {
		agent := &m.Agents[i]
		errs := v1alpha1.ValidateTradingAgent(agent)
		errs = append(errs, v1alpha1.ValidateUniquePairs(agent, m.Agents, m.Pairs)...)
		if len(errs) > 0 {
			problems = append(problems, fmt.Errorf("TradingAgent %q is invalid: %w", agent.Name, errs.ToAggregate()))
		}
	}
	return errors.Join(problems...)
}

// Desk gathers what configures one agent of the files. Unlike in a cluster,
// nothing can appear later, so a missing object is an error.
func (m *Manifests) Desk(agent *v1alpha1.TradingAgent) (Desk, error) {
	desk := assemble(agent, m.Accounts, m.Policies, m.Pairs, m.Ledgers)
	if missing := desk.Missing(); len(missing) > 0 {
		return Desk{}, fmt.Errorf("TradingAgent %q refers to what is not in the files: %s", agent.Name, strings.Join(missing, ", "))
	}
	if errs := desk.Validate(); len(errs) > 0 {
		return Desk{}, fmt.Errorf("TradingAgent %q is invalid: %w", agent.Name, errs.ToAggregate())
	}
	if err := desk.ValidateRisk(); err != nil {
		return Desk{}, fmt.Errorf("TradingAgent %q is invalid: %w", agent.Name, err)
	}
	return desk, nil
}

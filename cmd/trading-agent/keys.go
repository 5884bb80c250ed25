package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/three-rivers-tech/trading-operator/internal/ledger"
	"github.com/three-rivers-tech/trading-operator/internal/link"
	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
	"github.com/three-rivers-tech/trading-operator/internal/server/keys/keycmd"
)

// keyFile is a keys file, beside the ledger that knows when its keys were used.
type keyFile struct {
	path, ledgerURIFile, agentUID string
}

var _ keycmd.Store = (*keyFile)(nil)

func newKeysCommand() *cobra.Command {
	var store keyFile
	command := keycmd.New(keycmd.Options{
		Open: func(*cobra.Command, []string) (keycmd.Store, error) {
			if store.path == "" {
				return nil, errors.New("--keys-file is missing: name the file that keeps the hashes of the keys; it is made if need be")
			}
			return &store, nil
		},
		Example: `  trading-agent keys create --keys-file keys.json --name dashboard --scope read
  trading-agent run -f config/samples/ --agent eur-trend --listen 127.0.0.1:8443 --keys-file keys.json`,
	})
	flags := command.PersistentFlags()
	flags.StringVar(&store.path, "keys-file", "", "file that keeps the hashes of the keys")
	flags.StringVar(&store.ledgerURIFile, "ledger-uri-file", "", "file with the connection URI of the ledger that knows when the keys were used last")
	flags.StringVar(&store.agentUID, "agent-uid", "", "UID of the agent in that ledger")
	command.AddCommand(newKeysSecretCommand(&store))
	return command
}

// Read implements keycmd.Store.
func (f *keyFile) Read(context.Context) (map[string][]byte, error) { return keys.ReadFile(f.path) }

// Change implements keycmd.Store.
func (f *keyFile) Change(ctx context.Context, edit func(map[string][]byte) (map[string][]byte, error)) error {
	return keys.ChangeFile(ctx, f.path, edit)
}

// LastUses implements keycmd.Store.
func (f *keyFile) LastUses(ctx context.Context) (map[string]time.Time, error) {
	if f.ledgerURIFile == "" || f.agentUID == "" {
		return nil, errors.New("give --ledger-uri-file and --agent-uid")
	}
	uri, err := readURI(f.ledgerURIFile)
	if err != nil {
		return nil, err
	}
	book, err := ledger.Open(ctx, uri)
	if err != nil {
		return nil, err
	}
	defer book.Close()
	return book.LastUses(ctx, f.agentUID)
}

// newKeysSecretCommand turns a keys file into what a GitOps repository keeps.
func newKeysSecretCommand(store *keyFile) *cobra.Command {
	var agent types.NamespacedName
	command := &cobra.Command{
		Use: "secret", Short: "Print the keys file as the Secret of an agent in a cluster", Args: cobra.NoArgs,
		Long: "Print the keys file as the manifest of the Secret that an agent in a cluster reads. It holds hashes only, so it may stand in a repository.",
		RunE: func(command *cobra.Command, _ []string) error {
			if store.path == "" || agent.Name == "" || agent.Namespace == "" {
				return errors.New("give --keys-file, --agent and --namespace")
			}
			data, err := store.Read(command.Context())
			if err != nil {
				return err
			}
			if _, err := keys.ParseEntries(data); err != nil {
				return fmt.Errorf("%s: %w", store.path, err)
			}
			text, err := yaml.Marshal(secretOf(agent, data))
			if err != nil {
				return fmt.Errorf("write the Secret: %w", err)
			}
			_, err = command.OutOrStdout().Write(text)
			return err
		},
	}
	command.Flags().StringVar(&agent.Name, "agent", "", "name of the TradingAgent")
	command.Flags().StringVar(&agent.Namespace, "namespace", "", "its namespace")
	return command
}

func secretOf(agent types.NamespacedName, data map[string][]byte) map[string]any {
	// A plain object, because the type would print empty fields. Not stringData, because
	// no apply takes a key away again that has come by it, and a revoked key must go.
	return map[string]any{
		"apiVersion": corev1.SchemeGroupVersion.String(), "kind": "Secret",
		"metadata": map[string]any{
			"name": link.KeysSecret(agent.Name), "namespace": agent.Namespace,
		},
		"type": string(corev1.SecretTypeOpaque), "data": data,
	}
}

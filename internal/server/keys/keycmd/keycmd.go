// Package keycmd has the commands that manage API keys, wherever the keys are kept.
package keycmd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/three-rivers-tech/trading-operator/internal/server/keys"
)

// Store is where the keys of one agent are kept.
type Store interface {
	// Read returns what is kept, by key id.
	Read(ctx context.Context) (map[string][]byte, error)
	// Change edits it. The function may be called again if somebody else has edited
	// it meanwhile.
	Change(ctx context.Context, edit func(map[string][]byte) (map[string][]byte, error)) error
	// LastUses is when each key was last used, by key id. It fails where nobody
	// knows.
	LastUses(ctx context.Context) (map[string]time.Time, error)
}

// Options say for whom the commands are made.
type Options struct {
	// Takes names the arguments that say whose keys are meant, such as AGENT; empty
	// if flags do.
	Takes string
	// Open finds the store.
	Open func(command *cobra.Command, whose []string) (Store, error)
	// Example of "create".
	Example string
}

const defaultGrace = 24 * time.Hour

// New is the command "keys".
func New(options Options) *cobra.Command {
	command := &cobra.Command{
		Use:   "keys",
		Short: "Make, list, rotate and revoke API keys",
		Long: `Make, list, rotate and revoke the keys of an agent's API.

A key is shown once, when it is made; only a salted hash of it is kept. Scopes:
read sees everything, trade may also ask for orders, admin is for the desk's owner.`,
	}
	command.AddCommand(options.create(), options.list(), options.rotate(), options.revoke())
	return command
}

func (o *Options) use(verb string, others ...string) string {
	words := []string{verb}
	if o.Takes != "" {
		words = append(words, o.Takes)
	}
	return strings.Join(append(words, others...), " ")
}

// split tells the arguments that say whose keys are meant from the others.
func (o *Options) split(arguments []string) (whose, others []string) {
	if o.Takes == "" {
		return nil, arguments
	}
	return arguments[:1], arguments[1:]
}

func (o *Options) arguments(others int) cobra.PositionalArgs {
	if o.Takes != "" {
		others++
	}
	return cobra.ExactArgs(others)
}

func (o *Options) create() *cobra.Command {
	var name, scope string
	var lifetime time.Duration
	command := &cobra.Command{
		Use: o.use("create"), Short: "Make a key and show it, this once", Example: o.Example, Args: o.arguments(0),
		RunE: func(command *cobra.Command, arguments []string) error {
			whose, _ := o.split(arguments)
			return o.change(command, whose, func(entries keys.Entries, now time.Time) (made, error) {
				id, key, err := entries.Create(name, keys.Scope(scope), lifetime, now)
				return made{id: id, key: key, entry: entries[id]}, err
			})
		},
	}
	flags := command.Flags()
	flags.StringVar(&name, "name", "", "what people call the key, such as dashboard")
	flags.StringVar(&scope, "scope", string(keys.Read), "what the key may do: read, trade or admin")
	flags.DurationVar(&lifetime, "expires-in", 0, "how long the key is good, such as 2160h; for ever if not set")
	_ = command.MarkFlagRequired("name") // The flag exists.
	return command
}

func (o *Options) rotate() *cobra.Command {
	var grace time.Duration
	command := &cobra.Command{
		Use: o.use("rotate", "KEY"), Short: "Make a new key of the same name and scope, and end the old one",
		Long: "Make a new key of the same name, scope and lifetime. The old one, given by its name or id, goes on for --grace, so that its users can change over.",
		Args: o.arguments(1),
		RunE: func(command *cobra.Command, arguments []string) error {
			whose, others := o.split(arguments)
			return o.change(command, whose, func(entries keys.Entries, now time.Time) (made, error) {
				id, key, err := entries.Rotate(others[0], grace, now)
				return made{id: id, key: key, entry: entries[id]}, err
			})
		},
	}
	command.Flags().DurationVar(&grace, "grace", defaultGrace, "how long the old key goes on; 0 ends it at once")
	return command
}

// made is a key that was just made.
type made struct {
	id, key string
	entry   keys.Entry
}

// change makes a key and shows it: the key alone on standard output, so that it can
// be piped to where it is kept, and all else beside it.
func (o *Options) change(command *cobra.Command, whose []string, edit func(keys.Entries, time.Time) (made, error)) error {
	store, err := o.Open(command, whose)
	if err != nil {
		return err
	}
	var result made
	err = store.Change(command.Context(), func(data map[string][]byte) (map[string][]byte, error) {
		return keys.Change(data, func(entries keys.Entries) (err error) {
			result, err = edit(entries, time.Now())
			return err
		})
	})
	if err != nil {
		return err
	}
	ends := "It does not end by itself"
	if !result.entry.Expires.IsZero() {
		ends = "It ends " + result.entry.Expires.Format(time.RFC3339)
	}
	_, err = fmt.Fprintf(command.ErrOrStderr(), "Key %s (%s, scope %s). %s. Keep it now: it is not shown again.\n", result.id, result.entry.Name, result.entry.Scope, ends)
	_, shown := fmt.Fprintln(command.OutOrStdout(), result.key)
	return errors.Join(err, shown)
}

func (o *Options) revoke() *cobra.Command {
	return &cobra.Command{
		Use: o.use("revoke", "KEY"), Short: "End a key, given by its name or id, now",
		Long: "End every key of that name or id. What they hold open ends within a second of the agent's knowing.",
		Args: o.arguments(1),
		RunE: func(command *cobra.Command, arguments []string) error {
			whose, others := o.split(arguments)
			store, err := o.Open(command, whose)
			if err != nil {
				return err
			}
			var gone []string
			err = store.Change(command.Context(), func(data map[string][]byte) (map[string][]byte, error) {
				return keys.Change(data, func(entries keys.Entries) (err error) {
					gone, err = entries.Revoke(others[0])
					return err
				})
			})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(command.OutOrStdout(), "revoked %s\n", strings.Join(gone, ", "))
			return err
		},
	}
}

// listed is a key as "list -o json" shows it.
type listed struct {
	ID      string     `json:"id"`
	Name    string     `json:"name"`
	Scope   keys.Scope `json:"scope"`
	Created time.Time  `json:"created"`
	Expires time.Time  `json:"expires,omitzero"`
	LastUse time.Time  `json:"lastUse,omitzero"`
}

func (o *Options) list() *cobra.Command {
	var output string
	command := &cobra.Command{
		Use: o.use("list"), Short: "List the keys, without what is secret of them", Args: o.arguments(0),
		RunE: func(command *cobra.Command, arguments []string) error {
			if output != "text" && output != "json" {
				return fmt.Errorf("--output is %q; it can be text or json", output)
			}
			whose, _ := o.split(arguments)
			store, err := o.Open(command, whose)
			if err != nil {
				return err
			}
			data, err := store.Read(command.Context())
			if err != nil {
				return err
			}
			entries, unfit := keys.ParseEntries(data)
			uses, unknown := store.LastUses(command.Context())
			rows := rowsOf(entries, uses)
			if output == "json" {
				encoder := json.NewEncoder(command.OutOrStdout())
				encoder.SetIndent("", "  ")
				err = encoder.Encode(rows)
			} else {
				err = table(command.OutOrStdout(), rows, unknown == nil, time.Now())
			}
			for problem, about := range map[error]string{unfit: "these keys let nobody in", unknown: "the last uses are not known"} {
				if problem != nil {
					_, told := fmt.Fprintf(command.ErrOrStderr(), "%s: %v\n", about, problem)
					err = errors.Join(err, told)
				}
			}
			return err
		},
	}
	command.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return command
}

func rowsOf(entries keys.Entries, uses map[string]time.Time) []listed {
	rows := make([]listed, 0, len(entries))
	for _, id := range slices.Sorted(maps.Keys(entries)) {
		entry := entries[id]
		rows = append(rows, listed{ID: id, Name: entry.Name, Scope: entry.Scope, Created: entry.Created, Expires: entry.Expires, LastUse: uses[id]})
	}
	slices.SortStableFunc(rows, func(a, b listed) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), a.Created.Compare(b.Created))
	})
	return rows
}

func table(output io.Writer, rows []listed, usesKnown bool, now time.Time) error {
	writer := tabwriter.NewWriter(output, 0, 0, 3, ' ', 0)
	_, err := fmt.Fprintln(writer, "NAME\tID\tSCOPE\tCREATED\tEXPIRES\tLAST USE")
	for _, row := range rows {
		expires, used := "never", "unknown"
		if !row.Expires.IsZero() {
			expires = "in " + duration.HumanDuration(row.Expires.Sub(now))
			if !row.Expires.After(now) {
				expires = "ended"
			}
		}
		if !row.LastUse.IsZero() {
			used = duration.HumanDuration(now.Sub(row.LastUse)) + " ago"
		} else if usesKnown {
			used = "never"
		}
		_, wrote := fmt.Fprintf(writer, "%s\t%s\t%s\t%s ago\t%s\t%s\n", row.Name, row.ID, row.Scope, duration.HumanDuration(now.Sub(row.Created)), expires, used)
		err = errors.Join(err, wrote)
	}
	return errors.Join(err, writer.Flush())
}

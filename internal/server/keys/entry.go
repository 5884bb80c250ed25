package keys

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"time"
)

// Entry is all that is kept of a key: one entry of the Secret "<agent>-api-keys",
// under the key's id.
type Entry struct {
	// Name that people know the key by; a rotated key has the name of the one
	// before it.
	Name  string `json:"name"`
	Scope Scope  `json:"scope"`
	// Hash is HMAC-SHA-256 of the key under Salt.
	Hash []byte `json:"hash"`
	Salt []byte `json:"salt"`
	// Created and Expires are in whole seconds. A key without Expires does not end.
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"`
}

// Entries are the keys of one agent, by id.
type Entries map[string]Entry

// MaxEntries bounds the keys of one agent.
const MaxEntries = 256

// maxEntryBytes is far beyond any entry that this package writes.
const maxEntryBytes = 4096

var validName = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9._]{0,61}[A-Za-z0-9])?$`)

// ParseEntries reads the data of the Secret. An entry that is not understood lets
// nobody in and does not disturb the others: the error names each of them, and
// never repeats what they hold.
func ParseEntries(data map[string][]byte) (Entries, error) {
	entries := make(Entries, len(data))
	var problems []error
	for _, id := range slices.Sorted(maps.Keys(data)) {
		entry, err := parseEntry(id, data[id])
		switch {
		case err != nil:
			// Somebody may have written a key where its id belongs.
			problems = append(problems, fmt.Errorf("key %q: %w", redact(id), err))
		case len(entries) == MaxEntries:
			problems = append(problems, fmt.Errorf("key %q: an agent has %d keys at most; revoke some", id, MaxEntries))
		default:
			entries[id] = entry
		}
	}
	return entries, errors.Join(problems...)
}

func parseEntry(id string, text []byte) (Entry, error) {
	if !validID(id) {
		return Entry{}, fmt.Errorf("an id has %d small letters and digits, as keys create writes them", idLength)
	}
	if len(text) > maxEntryBytes {
		return Entry{}, fmt.Errorf("the entry has more than %d bytes", maxEntryBytes)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	// A field that this version does not know may take rights away.
	decoder.DisallowUnknownFields()
	var entry Entry
	if decoder.Decode(&entry) != nil || !errors.Is(decoder.Decode(new(any)), io.EOF) {
		return Entry{}, errors.New("the entry is not a JSON object with name, scope, hash, salt, created and expires")
	}
	return entry, entry.validate()
}

func (e *Entry) validate() error {
	switch {
	case !validName.MatchString(e.Name):
		return errors.New("a name has 1 to 63 letters, digits, dots, dashes or underscores, and begins and ends with a letter or digit")
	case e.Scope.rank() == 0:
		return errors.New("the scope must be read, trade or admin")
	case len(e.Hash) != 32:
		return errors.New("the hash must have 32 bytes")
	case len(e.Salt) != saltBytes:
		return fmt.Errorf("the salt must have %d bytes", saltBytes)
	case e.Created.IsZero():
		return errors.New("created is missing")
	case !e.Expires.IsZero() && !e.Expires.After(e.Created):
		return errors.New("expires must be later than created")
	}
	return nil
}

// ended is whether the key is of no more use.
func (e *Entry) ended(now time.Time) bool { return !e.Expires.IsZero() && !now.Before(e.Expires) }

// Data is what the Secret holds of an entry.
func (e *Entry) Data() ([]byte, error) {
	text, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("write the entry of key %q: %w", e.Name, err)
	}
	return text, nil
}

// Create adds a key and returns it with its id. It cannot be had again: only its
// hash is kept. The key ends after lifetime, or never if that is zero.
func (e Entries) Create(name string, scope Scope, lifetime time.Duration, now time.Time) (id, key string, err error) {
	now = now.UTC().Truncate(time.Second)
	entry := Entry{Name: name, Scope: scope, Hash: make([]byte, 32), Salt: make([]byte, saltBytes), Created: now}
	if lifetime != 0 {
		entry.Expires = now.Add(lifetime).Truncate(time.Second)
	}
	if err := entry.validate(); err != nil {
		return "", "", err
	}
	for _, other := range e {
		if other.Name == name && !other.ended(now) {
			return "", "", fmt.Errorf("there is a key %q already; rotate or revoke it, or choose another name", name)
		}
	}
	return e.add(entry)
}

// Rotate adds a key with the name, scope and lifetime of an older one, which ends
// after grace.
func (e Entries) Rotate(nameOrID string, grace time.Duration, now time.Time) (id, key string, err error) {
	now = now.UTC().Truncate(time.Second)
	if grace < 0 {
		return "", "", errors.New("the grace must not be negative")
	}
	old, err := e.current(nameOrID, now)
	if err != nil {
		return "", "", err
	}
	before := e[old]
	entry := Entry{Name: before.Name, Scope: before.Scope, Created: now}
	if !before.Expires.IsZero() {
		entry.Expires = now.Add(before.Expires.Sub(before.Created))
	}
	if id, key, err = e.add(entry); err != nil {
		return "", "", err
	}
	if end := now.Add(grace).Truncate(time.Second); grace == 0 || !end.After(before.Created) {
		delete(e, old)
	} else if before.Expires.IsZero() || end.Before(before.Expires) {
		before.Expires = end
		e[old] = before
	}
	return id, key, nil
}

// Revoke removes every key of that name or id and returns their ids.
func (e Entries) Revoke(nameOrID string) ([]string, error) {
	var gone []string
	for id := range e {
		if id == nameOrID || e[id].Name == nameOrID {
			gone = append(gone, id)
		}
	}
	if len(gone) == 0 {
		return nil, e.unknown(nameOrID)
	}
	for _, id := range gone {
		delete(e, id)
	}
	slices.Sort(gone)
	return gone, nil
}

// current is the id of the newest key of that name or id which has not ended.
func (e Entries) current(nameOrID string, now time.Time) (string, error) {
	found := ""
	for _, id := range slices.Sorted(maps.Keys(e)) {
		entry := e[id]
		if (id == nameOrID || entry.Name == nameOrID) && !entry.ended(now) && (found == "" || entry.Created.After(e[found].Created)) {
			found = id
		}
	}
	if found == "" {
		return "", e.unknown(nameOrID)
	}
	return found, nil
}

// unknown says that nothing has the name, without it if it is a key.
func (e Entries) unknown(nameOrID string) error {
	return fmt.Errorf("there is no key %q; keys list shows names and ids", redact(nameOrID))
}

// add makes a key for the entry.
func (e Entries) add(entry Entry) (id, key string, err error) {
	now := entry.Created
	// What has ended lets nobody in; keeping it would fill the Secret in time.
	maps.DeleteFunc(e, func(_ string, other Entry) bool { return other.ended(now) })
	if len(e) >= MaxEntries {
		return "", "", fmt.Errorf("an agent has %d keys at most; revoke some", MaxEntries)
	}
	for id == "" {
		candidate := newID()
		if _, taken := e[candidate]; !taken {
			id = candidate
		}
	}
	key = keyPrefix + id + "_" + newSecret()
	entry.Salt = newSalt()
	entry.Hash = hash(entry.Salt, key)
	e[id] = entry
	return id, key, nil
}

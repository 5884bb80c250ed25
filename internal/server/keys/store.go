package keys

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"github.com/gofrs/flock"
)

// lockPause is how often a keys file that another process edits is tried again.
const lockPause = 20 * time.Millisecond

// Change edits the data of a Secret, or of a file that stands for one. Entries that
// are not understood stay as they are.
func Change(data map[string][]byte, edit func(Entries) error) (map[string][]byte, error) {
	entries, _ := ParseEntries(data)
	before := maps.Clone(entries)
	if err := edit(entries); err != nil {
		return nil, err
	}
	changed := make(map[string][]byte, len(data)+1)
	maps.Copy(changed, data)
	for id := range before {
		if _, still := entries[id]; !still {
			delete(changed, id)
		}
	}
	for id := range entries {
		entry := entries[id]
		if known, ok := before[id]; ok && reflect.DeepEqual(known, entry) {
			continue
		}
		text, err := entry.Data()
		if err != nil {
			return nil, err
		}
		changed[id] = text
	}
	return changed, nil
}

// ReadFile reads a keys file: a JSON object of entries by id, which is what the
// Secret's data would be. A file that does not exist has no keys, nor has no file.
func ReadFile(path string) (map[string][]byte, error) {
	if path == "" {
		return nil, nil
	}
	text, err := fs.ReadFile(os.DirFS(filepath.Dir(path)), filepath.Base(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the keys file: %w", err)
	}
	return parseFile(path, text)
}

func parseFile(path string, text []byte) (map[string][]byte, error) {
	var raw map[string]json.RawMessage
	if json.Unmarshal(text, &raw) != nil {
		return nil, fmt.Errorf("%s is not a keys file: a JSON object of entries by id, as keys create writes it", path)
	}
	data := make(map[string][]byte, len(raw))
	for id, entry := range raw {
		data[id] = entry
	}
	return data, nil
}

// ChangeFile edits a keys file. Several may edit it at once; each waits for its
// turn, and an agent that reads the file never sees half of it.
func ChangeFile(ctx context.Context, path string, edit func(map[string][]byte) (map[string][]byte, error)) (err error) {
	lock := flock.New(path + ".lock")
	if _, err := lock.TryLockContext(ctx, lockPause); err != nil {
		return fmt.Errorf("lock the keys file: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	data, err := ReadFile(path)
	if err != nil {
		return err
	}
	changed, err := edit(data)
	if err != nil {
		return err
	}
	raw := make(map[string]json.RawMessage, len(changed))
	for id, entry := range changed {
		raw[id] = entry
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(raw); err != nil {
		return fmt.Errorf("write the keys file: %w", err)
	}
	return replaceFile(path, text.Bytes())
}

// replaceFile puts a whole new file in place of another, or nothing.
func replaceFile(path string, text []byte) error {
	fresh, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write the keys file: %w", err)
	}
	// CreateTemp lets only the owner read it.
	_, err = fresh.Write(text)
	err = errors.Join(err, fresh.Sync(), fresh.Close())
	if err == nil {
		err = os.Rename(fresh.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write the keys file: %w", err), os.Remove(fresh.Name()))
	}
	return nil
}

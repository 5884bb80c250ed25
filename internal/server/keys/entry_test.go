package keys

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 5, 12, 0, 0, 0, time.UTC)

// created makes a key and fails the test when it cannot.
func created(t *testing.T, entries Entries, name string, scope Scope, lifetime time.Duration, now time.Time) (id, key string) {
	t.Helper()
	id, key, err := entries.Create(name, scope, lifetime, now)
	if err != nil {
		t.Fatal(err)
	}
	return id, key
}

// data is what the Secret would hold.
func data(t *testing.T, entries Entries) map[string][]byte {
	t.Helper()
	found := map[string][]byte{}
	for id, entry := range entries {
		text, err := entry.Data()
		if err != nil {
			t.Fatal(err)
		}
		found[id] = text
	}
	return found
}

func TestCreatedKeyIsKeptAsItsHashAlone(t *testing.T) {
	entries := Entries{}
	id, key := created(t, entries, "dashboard", Read, 90*24*time.Hour, noon.Add(300*time.Millisecond))
	if found, ok := parseKey(key); !ok || found != id || len(key) != len("ta_")+8+1+43 {
		t.Fatalf("the key %q of id %q does not parse: %q", key, id, found)
	}
	kept := data(t, entries)[id]
	for part := 0; part+12 <= secretLength; part++ {
		if secret := key[len(key)-secretLength:]; bytes.Contains(kept, []byte(secret[part:part+12])) {
			t.Fatalf("a part of the key is kept: %s", kept)
		}
	}
	again, err := ParseEntries(data(t, entries))
	if err != nil {
		t.Fatal(err)
	}
	entry := again[id]
	if entry.Name != "dashboard" || entry.Scope != Read || !entry.Created.Equal(noon) || !entry.Expires.Equal(noon.Add(90*24*time.Hour)) {
		t.Errorf("read back: %+v", entry)
	}
	if !bytes.Equal(hash(entry.Salt, key), entry.Hash) {
		t.Error("the key does not fit its own hash")
	}
	_, second := created(t, entries, "another", Read, 0, noon)
	if second == key || len(entries) != 2 {
		t.Error("two keys are the same")
	}
}

func TestCreateRefuses(t *testing.T) {
	entries := Entries{}
	created(t, entries, "taken", Read, time.Hour, noon)
	for name, c := range map[string]struct {
		name     string
		scope    Scope
		lifetime time.Duration
		want     string
	}{
		"no name":          {"", Read, 0, "a name has 1 to 63"},
		"a name for shows": {"my key", Read, 0, "a name has 1 to 63"},
		"a long name":      {strings.Repeat("a", 64), Read, 0, "a name has 1 to 63"},
		"an unknown scope": {"a", "write", 0, "read, trade or admin"},
		"no scope":         {"a", "", 0, "read, trade or admin"},
		"a past end":       {"a", Read, -time.Hour, "later than created"},
		"no time at all":   {"a", Read, time.Millisecond, "later than created"},
		"a name in use":    {"taken", Trade, 0, "rotate or revoke"},
	} {
		if _, _, err := entries.Create(c.name, c.scope, c.lifetime, noon); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(entries) != 1 {
		t.Errorf("%d keys are left", len(entries))
	}
	// A name is free again once its key has ended, and the old entry goes.
	if _, _, err := entries.Create("taken", Read, 0, noon.Add(time.Hour)); err != nil || len(entries) != 1 {
		t.Errorf("after its end the name is not free: %v, %d entries", err, len(entries))
	}
	full := Entries{}
	for range MaxEntries {
		full[newID()] = Entry{Name: "x", Created: noon}
	}
	if _, _, err := full.Create("one-more", Read, 0, noon); err == nil || !strings.Contains(err.Error(), "256 keys at most") {
		t.Errorf("one key too many: %v", err)
	}
}

func TestRotateGivesTheOldKeyItsGrace(t *testing.T) {
	for name, c := range map[string]struct {
		lifetime, grace  time.Duration
		oldEnds, newEnds time.Time
	}{
		"for ever":          {0, time.Hour, noon.Add(2 * time.Hour), time.Time{}},
		"with an end":       {24 * time.Hour, time.Hour, noon.Add(2 * time.Hour), noon.Add(25 * time.Hour)},
		"that ends earlier": {90 * time.Minute, time.Hour, noon.Add(90 * time.Minute), noon.Add(150 * time.Minute)},
		"without grace":     {24 * time.Hour, 0, time.Time{}, noon.Add(25 * time.Hour)},
	} {
		t.Run(name, func(t *testing.T) {
			entries := Entries{}
			old, oldKey := created(t, entries, "desk", Trade, c.lifetime, noon)
			id, key, err := entries.Rotate("desk", c.grace, noon.Add(time.Hour))
			if err != nil || id == old || key == oldKey {
				t.Fatalf("rotated %s to %s: %v", old, id, err)
			}
			before, kept := entries[old]
			if kept != (c.grace > 0) || kept && !before.Expires.Equal(c.oldEnds) {
				t.Errorf("the old key is kept: %t, and ends %s, want %s", kept, before.Expires, c.oldEnds)
			}
			if entry := entries[id]; entry.Name != "desk" || entry.Scope != Trade || !entry.Expires.Equal(c.newEnds) {
				t.Errorf("the new key: %+v, want its end at %s", entry, c.newEnds)
			}
			// The newest of the name is what is rotated next.
			if next, _, err := entries.Rotate("desk", time.Hour, noon.Add(61*time.Minute)); err != nil || next == id {
				t.Errorf("rotated again to %s: %v", next, err)
			} else if entries[id].Expires.IsZero() {
				t.Error("the second rotation did not end the first one's key")
			}
		})
	}
	entries := Entries{}
	_, key := created(t, entries, "desk", Read, 0, noon)
	if _, _, err := entries.Rotate(key, time.Hour, noon); err == nil || strings.Contains(err.Error(), key[12:]) {
		t.Errorf("rotating by the key itself: %v", err)
	}
	if _, _, err := entries.Rotate("desk", -time.Second, noon); err == nil {
		t.Error("a negative grace was accepted")
	}
}

func TestRevokeTakesEveryKeyOfTheName(t *testing.T) {
	entries := Entries{}
	created(t, entries, "desk", Read, 0, noon)
	if _, _, err := entries.Rotate("desk", time.Hour, noon.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	other, _ := created(t, entries, "other", Read, 0, noon)
	if gone, err := entries.Revoke("desk"); err != nil || len(gone) != 2 || len(entries) != 1 {
		t.Errorf("revoked %v: %v; %d left", gone, err, len(entries))
	}
	if gone, err := entries.Revoke(other); err != nil || len(gone) != 1 || len(entries) != 0 {
		t.Errorf("revoked %v by id: %v", gone, err)
	}
	if _, err := entries.Revoke("desk"); err == nil {
		t.Error("revoking nothing succeeded")
	}
}

func TestEntriesThatAreNotUnderstoodLetNobodyIn(t *testing.T) {
	entries := Entries{}
	id, key := created(t, entries, "good", Read, 0, noon)
	good := data(t, entries)[id]
	change := func(field string, value any) []byte {
		var object map[string]any
		if err := json.Unmarshal(good, &object); err != nil {
			t.Fatal(err)
		}
		if value == nil {
			delete(object, field)
		} else {
			object[field] = value
		}
		text, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	const canary = "c4n4ry"
	for name, entry := range map[string]struct {
		id   string
		text []byte
	}{
		"no JSON":               {newID(), []byte(canary)},
		"no object":             {newID(), []byte(`["` + canary + `"]`)},
		"two objects":           {newID(), append(bytes.Clone(good), good...)},
		"an unknown field":      {newID(), change("pairs", canary)},
		"an unknown scope":      {newID(), change("scope", canary)},
		"no scope":              {newID(), change("scope", nil)},
		"a short hash":          {newID(), change("hash", "YWJj")},
		"no salt":               {newID(), change("salt", nil)},
		"no beginning":          {newID(), change("created", nil)},
		"an end that is no end": {newID(), change("expires", canary)},
		"an end at the start":   {newID(), change("expires", noon)},
		"a name of two lines":   {newID(), change("name", "a\n"+canary)},
		"a key for its id":      {key, good},
		"an id of its own":      {"dashboard", good},
		"too much":              {newID(), append(bytes.Clone(good), bytes.Repeat([]byte(" "), maxEntryBytes)...)},
	} {
		found, err := ParseEntries(map[string][]byte{id: good, entry.id: entry.text})
		if err == nil || len(found) != 1 || found[id].Name != "good" {
			t.Errorf("%s: %d entries, %v", name, len(found), err)
			continue
		}
		if strings.Contains(err.Error(), canary) || strings.Contains(err.Error(), key[12:]) {
			t.Errorf("%s: the error tells what the entry holds: %v", name, err)
		}
	}
}

func FuzzParseEntry(f *testing.F) {
	entries := Entries{}
	id, _, err := entries.Create("desk", Trade, time.Hour, noon)
	if err != nil {
		f.Fatal(err)
	}
	entry := entries[id]
	text, err := entry.Data()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(id, text)
	f.Add("abcdefgh", []byte(`{"name":"a","scope":"admin","hash":"","salt":"","created":"2026-01-01T00:00:00Z"}`))
	f.Add("..", []byte("{}"))
	f.Fuzz(func(t *testing.T, id string, text []byte) {
		found, err := ParseEntries(map[string][]byte{id: text})
		if (err == nil) != (len(found) == 1) {
			t.Fatalf("%d entries, %v", len(found), err)
		}
		for id := range found {
			entry := found[id]
			if entry.validate() != nil || !validID(id) {
				t.Fatalf("accepted %q: %+v", id, entry)
			}
			// What was accepted is written and read back as it is.
			again, err := entry.Data()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := ParseEntries(map[string][]byte{id: again}); err != nil {
				t.Fatalf("%s became %s: %v", text, again, err)
			}
		}
	})
}

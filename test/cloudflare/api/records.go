package api

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const (
	automaticTTL   = 1
	minTTL, maxTTL = 60, 86400
)

type zoneView struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Status string `json:"status"`
}

// listZones shows a token only the zones that it may read: to one without the
// permission, an account looks empty.
func (a *Account) listZones(token Token, query url.Values) response {
	found := []zoneView{}
	for id, name := range a.zones {
		if token.ZoneRead && (!query.Has("name") || query.Get("name") == name) {
			found = append(found, zoneView{ID: id, Name: name, Status: "active"})
		}
	}
	slices.SortFunc(found, func(x, y zoneView) int { return cmp.Compare(x.Name, y.Name) })
	return succeeded(found)
}

func (a *Account) listRecords(zone string, query url.Values) response {
	found := []Record{}
	for _, record := range a.records[zone] {
		if (!query.Has("name") || query.Get("name") == record.Name) && (!query.Has("type") || query.Get("type") == record.Type) {
			found = append(found, record)
		}
	}
	slices.SortFunc(found, func(x, y Record) int { return cmp.Compare(x.ID, y.ID) })
	return succeeded(found)
}

func (a *Account) create(r *http.Request, zone, name string) response {
	var record Record
	if err := json.NewDecoder(r.Body).Decode(&record); err != nil {
		return malformedBody
	}
	if record.TTL == 0 {
		record.TTL = automaticTTL
	}
	switch {
	case record.Type != "TXT":
		return invalidRecord(9004, "This double keeps TXT records only.")
	case record.Name != name && !strings.HasSuffix(record.Name, "."+name):
		return invalidRecord(9000, "DNS name is invalid.")
	case record.Content == "":
		return invalidRecord(9007, "Content for TXT record is invalid.")
	case record.TTL != automaticTTL && (record.TTL < minTTL || record.TTL > maxTTL):
		return invalidRecord(9021, "Invalid TTL. Must be between 60 and 86400 seconds, or 1 for Automatic.")
	}
	for _, other := range a.records[zone] {
		if other.Name == record.Name && other.Type == record.Type && other.Content == record.Content {
			return identicalRecord
		}
	}
	record.ID = newID()
	a.records[zone][record.ID] = record
	if err := a.publish(r.Context(), zone, record.Name); err != nil {
		delete(a.records[zone], record.ID)
		return broken(err)
	}
	return succeeded(record)
}

func (a *Account) remove(ctx context.Context, zone, id string) response {
	record, ok := a.records[zone][id]
	if !ok {
		return noRecord
	}
	delete(a.records[zone], id)
	if err := a.publish(ctx, zone, record.Name); err != nil {
		a.records[zone][id] = record
		return broken(err)
	}
	return succeeded(map[string]string{"id": id})
}

func (a *Account) publish(ctx context.Context, zone, name string) error {
	var contents []string
	for _, id := range slices.Sorted(maps.Keys(a.records[zone])) {
		if record := a.records[zone][id]; record.Name == name {
			contents = append(contents, record.Content)
		}
	}
	return a.publisher.Publish(ctx, name, contents)
}

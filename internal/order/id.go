package order

import (
	"encoding/binary"

	"github.com/google/uuid"
)

// Namespace of all client order ids. It never changes: an id that was made once
// must be made again after any restart or upgrade.
var Namespace = uuid.MustParse("6f0f3b0e-5d0c-5c56-9f3e-5b8f6f1a7d21")

// NewID is the client order id of one leg of one decision. The same arguments
// give the same id for ever. Strings are encoded with their lengths in front, so
// that no two different arguments read alike.
func NewID(account, agentUID string, sequence int64, leg, replacement int32) uuid.UUID {
	name := make([]byte, 0, 24+len(account)+len(agentUID))
	name = binary.BigEndian.AppendUint32(name, uint32(len(account))) //nolint:gosec // no name is 4 GiB long
	name = append(name, account...)
	name = binary.BigEndian.AppendUint32(name, uint32(len(agentUID))) //nolint:gosec // no name is 4 GiB long
	name = append(name, agentUID...)
	name = binary.BigEndian.AppendUint64(name, uint64(sequence))    //nolint:gosec // the bits are what counts
	name = binary.BigEndian.AppendUint32(name, uint32(leg))         //nolint:gosec // the bits are what counts
	name = binary.BigEndian.AppendUint32(name, uint32(replacement)) //nolint:gosec // the bits are what counts
	return uuid.NewSHA1(Namespace, name)
}

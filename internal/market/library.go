package market

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// maxFileSize bounds a file, also after decompression, so that none can fill the
// memory of the agent.
const maxFileSize = 1 << 30

var errTooBig = errors.New("holds more than 1 GiB; split it, for instance by year")

// Library finds recordings by the name that spec.marketData.replay.dataset
// gives them.
//
// A name that begins with "sample/" is one of the data sets inside the binary,
// see Samples. Any other name is a path below the data directory, in which
// "{pair}" stands for the pair in lower case without separators (btcusd). With
// several pairs it must occur, so that no two of them share their prices. The
// name means, in this order:
//
//   - a file of exactly that name;
//   - all files of a directory of that name;
//   - all files whose names go on after it with "_" or ".", so that
//     crypto_coinbase_minute_{pair} finds
//     crypto_coinbase_minute_btcusd_20180404_trade.zip and …_quote.zip.
//
// Several files are one recording: days follow each other, and quotes are put
// on the trades of the same time. They must hold bars of one length. A file is
// LEAN's when its path says so, Parquet when it begins like one, and otherwise
// CSV with a header; zip and gzip are unpacked. The symbol in the path of a
// sample or a file of LEAN must be the pair's.
type Library struct {
	data fs.FS
}

// NewLibrary looks for recordings in a data directory; nil is none, which
// leaves the samples.
func NewLibrary(data fs.FS) Library { return Library{data: data} }

// OpenAll opens one recording for each instrument, in their order.
func (l Library) OpenAll(dataset string, instruments []Instrument) ([]*Recording, error) {
	if len(instruments) > 1 && !strings.Contains(dataset, "{pair}") {
		return nil, fmt.Errorf("data set %q is one recording for %d pairs; write {pair} where a pair's name stands in it", dataset, len(instruments))
	}
	recordings := make([]*Recording, 0, len(instruments))
	for _, instrument := range instruments {
		recording, err := l.Open(dataset, instrument)
		if err != nil {
			return nil, err
		}
		recordings = append(recordings, recording)
	}
	return recordings, nil
}

// Open reads the recording of one instrument. Errors name the file, the row and
// the column, and what would be right.
func (l Library) Open(dataset string, instrument Instrument) (*Recording, error) {
	name := strings.ReplaceAll(dataset, "{pair}", joinedName(instrument))
	if !fs.ValidPath(name) || strings.ContainsAny(name, "{}") {
		return nil, fmt.Errorf("data set %q must be a relative path without \"..\", in which {pair} is the only placeholder", dataset)
	}
	files, sample := l.data, strings.HasPrefix(name, samplePrefix)
	if sample {
		files = samples
	}
	if files == nil {
		return nil, fmt.Errorf("data set %q needs a data directory, and none is given; give one with --data, or use one of %s", dataset, strings.Join(Samples(), ", "))
	}
	paths, err := findFiles(files, name)
	if err == nil && len(paths) == 0 {
		if sample {
			return nil, fmt.Errorf("there is no data set %q; the samples are %s", name, strings.Join(Samples(), ", "))
		}
		err = notFound(files, name)
	}
	if err != nil {
		return nil, fmt.Errorf("data set %q: %w", dataset, err)
	}
	tables, err := readFiles(files, paths, instrument)
	if err != nil {
		return nil, fmt.Errorf("data set %q: %w", dataset, err)
	}
	return assemble(name, instrument, tables)
}

// joinedName is a pair as file names spell it.
func joinedName(instrument Instrument) string {
	return strings.ToLower(instrument.Base + instrument.Quote)
}

// findFiles are the files that a name means, in the order of their names.
func findFiles(files fs.FS, name string) ([]string, error) {
	info, err := fs.Stat(files, name)
	switch {
	case err == nil && info.Mode().IsRegular():
		return []string{name}, nil
	case err == nil && info.IsDir():
		return listFiles(files, name, "")
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	return listFiles(files, path.Dir(name), path.Base(name))
}

// listFiles are the data files of a directory whose names are the stem followed
// by "_" or "."; with an empty stem, all data files.
func listFiles(files fs.FS, directory, stem string) ([]string, error) {
	entries, err := fs.ReadDir(files, directory)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found []string
	for _, entry := range entries {
		rest, ok := strings.CutPrefix(entry.Name(), stem)
		if !ok || (stem != "" && !strings.HasPrefix(rest, "_") && !strings.HasPrefix(rest, ".")) {
			continue
		}
		if !entry.IsDir() && isDataName(entry.Name()) {
			found = append(found, path.Join(directory, entry.Name()))
		}
	}
	slices.Sort(found)
	return found, nil
}

func isDataName(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc([]string{".csv", ".csv.gz", ".zip", ".parquet"}, func(ending string) bool {
		return strings.HasSuffix(name, ending)
	})
}

// notFound says what there is instead.
func notFound(files fs.FS, name string) error {
	const shown = 8
	there, err := listFiles(files, ".", "")
	if err != nil {
		return err
	}
	if len(there) == 0 {
		return fmt.Errorf("the data directory has nothing named %s, and no .csv, .csv.gz, .zip or .parquet file at all", name)
	}
	more := ""
	if len(there) > shown {
		more = fmt.Sprintf(" and %d more", len(there)-shown)
	}
	return fmt.Errorf("the data directory has no file or folder named %s, %s.… or %s_…; it has %s%s",
		name, name, name, strings.Join(there[:min(len(there), shown)], ", "), more)
}

// readFiles reads the files of one recording.
func readFiles(files fs.FS, paths []string, instrument Instrument) ([]*table, error) {
	counts, err := newCounter(instrument)
	if err != nil {
		return nil, err
	}
	tables := make([]*table, 0, len(paths))
	for _, name := range paths {
		lean, isLEAN, err := parseLEANName(name)
		if err != nil {
			return nil, err
		}
		if err := checkPair(name, lean, instrument); err != nil {
			return nil, err
		}
		content, err := readFile(files, name)
		if err != nil {
			return nil, err
		}
		read, err := decode(name, content, lean, isLEAN, counts)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		tables = append(tables, read)
	}
	return tables, nil
}

// readFile reads a file whole, if it is of a size that fits memory.
func readFile(files fs.FS, name string) ([]byte, error) {
	info, err := fs.Stat(files, name)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFileSize {
		return nil, fmt.Errorf("%s: %w", name, errTooBig)
	}
	return fs.ReadFile(files, name)
}

// checkPair refuses the prices of another pair where a file's name tells whose
// they are: those of LEAN, which name an equity without its currency, and the
// samples.
func checkPair(name string, lean leanFile, instrument Instrument) error {
	symbol := lean.symbol
	if rest, ok := strings.CutPrefix(name, samplePrefix); ok {
		symbol, _, _ = strings.Cut(rest, "-")
	}
	if symbol == "" || symbol == joinedName(instrument) || (lean.scale != 0 && symbol == strings.ToLower(instrument.Base)) {
		return nil
	}
	return fmt.Errorf("%s holds the prices of %s and the pair is %s; name the data set of that pair, or let {pair} stand for it", name, strings.ToUpper(symbol), instrument.Pair)
}

// decode unpacks and reads one file.
func decode(name string, content []byte, lean leanFile, isLEAN bool, counts counter) (*table, error) {
	content, err := unpack(content)
	switch {
	case err != nil:
		return nil, err
	case bytes.HasPrefix(content, []byte(parquetMagic)):
		return readParquet(name, content, counts)
	case isLEAN:
		return readLEAN(name, lean, content, counts)
	}
	return readCSV(name, content, counts)
}

// unpack opens gzip and zip by their first bytes, whatever the file is called.
func unpack(content []byte) ([]byte, error) {
	switch {
	case bytes.HasPrefix(content, []byte("\x1f\x8b")):
		reader, err := gzip.NewReader(bytes.NewReader(content))
		if err != nil {
			return nil, fmt.Errorf("is a damaged gzip file: %w", err)
		}
		return readBounded(reader, "gzip")
	case bytes.HasPrefix(content, []byte("PK\x03\x04")), bytes.HasPrefix(content, []byte("PK\x05\x06")):
		return unzip(content)
	}
	return content, nil
}

func unzip(content []byte) ([]byte, error) {
	archive, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return nil, fmt.Errorf("is a damaged zip file: %w", err)
	}
	var entries []*zip.File
	for _, entry := range archive.File {
		if !entry.FileInfo().IsDir() && !strings.HasPrefix(entry.Name, "__MACOSX/") {
			entries = append(entries, entry)
		}
	}
	if len(entries) != 1 {
		return nil, fmt.Errorf("holds %d files; a zip must hold exactly one", len(entries))
	}
	reader, err := entries[0].Open()
	if err != nil {
		return nil, fmt.Errorf("is a damaged zip file: %w", err)
	}
	content, err = readBounded(reader, "zip")
	return content, errors.Join(err, reader.Close())
}

func readBounded(reader io.Reader, kind string) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(reader, maxFileSize+1))
	if err != nil {
		return nil, fmt.Errorf("is a damaged %s file: %w", kind, err)
	}
	if len(content) > maxFileSize {
		return nil, errTooBig
	}
	return content, nil
}

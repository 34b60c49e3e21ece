package cache

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"time"

	"github.com/rancher/rancheros-operator/pkg/media/iso"
)

// maxTries bounds the tries of one fetch in a row that bring nothing new.
const maxTries = 4

// fetch brings a base from its source to its place. One process at a time does so for one source.
func (c *Cache) fetch(ctx context.Context, source Source, from origin) (*Base, error) {
	key := source.key()
	defer c.release(key)
	partial, err := openLocked(ctx, c.path("partial", key))
	if err != nil {
		return nil, failed("keeping the base", err)
	}
	defer partial.Close()
	// Somebody else may have had the lock, and fetched it.
	if base, found := c.lookupDisk(source); found {
		_ = os.Remove(partial.Name())
		return base, nil
	}
	base, err := c.fetchInto(ctx, partial, source, from)
	if keeps := (*Error)(nil); errors.As(err, &keeps) && keeps.Reason != Unavailable {
		// What is wrong stays wrong, and room is short.
		_ = os.Remove(partial.Name())
		_ = os.Remove(validatorPath(partial))
	}
	return base, err
}

// lookupDisk is Lookup, for what another process has put there.
func (c *Cache) lookupDisk(source Source) (*Base, bool) {
	sum := source.checksum()
	if written, err := os.ReadFile(c.path("sources", source.key())); err == nil && sum == "" {
		sum = string(written)
	}
	c.mutex.Lock()
	known := c.bases[sum] != nil
	c.mutex.Unlock()
	if !hexSum.MatchString(sum) || !known && c.adopt(sum) != nil {
		return nil, false
	}
	c.mutex.Lock()
	c.sources[source.key()] = sum
	c.mutex.Unlock()
	return c.Lookup(source)
}

func (c *Cache) fetchInto(ctx context.Context, partial *os.File, source Source, from origin) (*Base, error) {
	arrived, err := partial, error(nil)
	switch {
	case from.isFile:
		err = c.copyFile(ctx, partial, source.key(), from.file)
	case from.http != nil:
		err = c.download(ctx, partial, source.key(), remote{url: from.http.String(), immutable: source.Checksum != ""})
	default:
		arrived, err = c.pull(ctx, partial, source.key(), from.registry)
	}
	if err != nil {
		return nil, err
	}
	if arrived != partial {
		defer arrived.Close()
		defer os.Remove(partial.Name())
	}
	hasher, err := c.hash(ctx, arrived)
	if err != nil {
		return nil, err
	}
	sum := hasher.Sum()
	if want := source.checksum(); want != "" && hex.EncodeToString(sum[:]) != want {
		return nil, invalid("the base has another checksum than was asked for: sha256:%x; correct the checksum, or the address", sum)
	}
	return c.keep(arrived, source, hasher)
}

// copyFile takes a base from the configured folder, which nothing leads out of.
func (c *Cache) copyFile(ctx context.Context, partial *os.File, key, name string) error {
	if c.options.Folder == "" {
		return invalid("bases from a folder are turned off: the operator was started without --media-folder")
	}
	root, err := os.OpenRoot(c.options.Folder)
	if err != nil {
		return failed("opening the folder of --media-folder", err)
	}
	defer func() { _ = root.Close() }()
	file, err := root.Open(path.Clean(name))
	if err != nil {
		return failed("opening the base in the folder of --media-folder", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return failed("reading the base", err)
	}
	if !info.Mode().IsRegular() {
		return invalid("the base in the folder of --media-folder is no plain file")
	}
	if err := c.roomFor(key, info.Size()); err != nil {
		return err
	}
	if err := errors.Join(partial.Truncate(0), rewind(partial)); err != nil {
		return failed("keeping the base", err)
	}
	if _, err := io.Copy(partial, &stopping{ctx: ctx, Reader: io.LimitReader(file, info.Size())}); err != nil {
		return failed("copying the base", err)
	}
	return nil
}

// roomFor refuses what is larger than a base may be, and makes room for the rest.
func (c *Cache) roomFor(key string, size int64) error {
	if size > c.options.MaxBase {
		return invalid("the base has %d bytes, and none may have more than %s; raise --media-max-base-gib if it is meant", size, human(c.options.MaxBase))
	}
	return c.reserve(key, size)
}

// stopping ends a copy with its context.
type stopping struct {
	io.Reader
	ctx context.Context
}

func (s *stopping) Read(buffer []byte) (int, error) {
	if s.ctx.Err() != nil {
		return 0, context.Cause(s.ctx)
	}
	return s.Reader.Read(buffer)
}

func rewind(file *os.File) error {
	_, err := file.Seek(0, io.SeekStart)
	return err
}

// hash reads the whole file, as it is on the disk.
func (c *Cache) hash(ctx context.Context, file *os.File) (*iso.Hasher, error) {
	hasher := iso.NewHasher()
	if err := rewind(file); err != nil {
		return nil, failed("reading the base", err)
	}
	if _, err := io.CopyBuffer(hasher, &stopping{ctx: ctx, Reader: file}, make([]byte, 1<<20)); err != nil {
		return nil, failed("reading the base", err)
	}
	return hasher, nil
}

// keep gives a base that is whole its place.
func (c *Cache) keep(arrived *os.File, source Source, hasher *iso.Hasher) (*Base, error) {
	if _, err := iso.Open(arrived, hasher.Size()); err != nil {
		var format *iso.FormatError
		if errors.As(err, &format) {
			return nil, invalid("%s", format.Problem)
		}
		return nil, failed("reading the base", err)
	}
	digest := hasher.Sum()
	sum := hex.EncodeToString(digest[:])
	if _, there := c.Lookup(Source{Checksum: sum}); there {
		// Another address of the same medium. The file that is read already stays the one.
		_ = os.Remove(arrived.Name())
		return c.found(source, sum)
	}
	written, err := json.Marshal(record{Size: hasher.Size(), Checkpoints: hasher.Checkpoints()})
	if err != nil {
		return nil, fmt.Errorf("writing the base's record: %w", err)
	}
	now := time.Now()
	err = errors.Join(arrived.Sync(), os.Chtimes(arrived.Name(), now, now), writeWhole(c.path("bases", sum+".json"), written))
	if err == nil {
		err = moveInto(arrived.Name(), c.basePath(sum))
	}
	if err != nil {
		return nil, failed("keeping the base", err)
	}
	return c.found(source, sum)
}

// found notes which base the source has led to.
func (c *Cache) found(source Source, sum string) (*Base, error) {
	if err := writeWhole(c.path("sources", source.key()), []byte(sum)); err != nil {
		return nil, failed("keeping the base", err)
	}
	base, found := c.lookupDisk(source)
	if !found {
		return nil, unavailable("the base went as soon as it was there; it is fetched again")
	}
	return base, nil
}

package cache

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/rancher/rancheros-operator/pkg/media/iso"
)

// Options are what a cache works with.
type Options struct {
	// Dir is the cache's own folder; it is made when missing.
	Dir string
	// MaxBytes bounds the folder, MaxBase one base.
	MaxBytes, MaxBase int64
	// Folder is where file:// leads to; without it, nowhere.
	Folder string
	// Stall is how long a server may send next to nothing; 30 s by default.
	Stall time.Duration
	// Retry is the first of the growing waits between two tries of one fetch; 1 s by default.
	Retry time.Duration
	// Transport reaches servers; one that is careful by default.
	Transport http.RoundTripper
	// InUse tells which bases, by their SHA-256, must not go to make room; nil for none.
	InUse func() map[string]bool
}

// Cache is the bases that are there, and the way to others.
type Cache struct {
	options  Options
	client   *http.Client
	fetching singleflight.Group

	mutex   sync.Mutex
	bases   map[string]*Base
	sources map[string]string // From a source's key to a base's SHA-256.
	// promised is room for fetches under way, by their source's key.
	promised map[string]int64
}

// Base is a base medium that was checked.
type Base struct {
	// Checksum is its SHA-256, in hex.
	Checksum string
	Size     int64
	// Image is what is in it, and Checkpoints are states of its hash.
	Image       *iso.Image
	Checkpoints iso.Checkpoints

	cache *Cache
	file  *os.File // For Image.
	// used is when it was last wanted, and readers how many read it now. The cache's mutex guards both.
	used    time.Time
	readers int
}

// record is a base's .json.
type record struct {
	Size        int64           `json:"size"`
	Checkpoints iso.Checkpoints `json:"checkpoints"`
}

// oldPartial is how long a partial is kept for somebody to go on with.
const oldPartial = 7 * 24 * time.Hour

// New opens the cache in a folder, with what earlier processes left there.
func New(options Options) (*Cache, error) {
	options.Stall = cmp.Or(options.Stall, 30*time.Second)
	options.Retry = cmp.Or(options.Retry, time.Second)
	c := &Cache{options: options, client: newClient(options.Transport), bases: map[string]*Base{}, sources: map[string]string{}, promised: map[string]int64{}}
	for _, folder := range []string{"bases", "sources", "partial"} {
		if err := os.MkdirAll(c.path(folder), 0o700); err != nil {
			return nil, fmt.Errorf("making the folder of base media: %w", err)
		}
	}
	return c, c.load()
}

func (c *Cache) path(parts ...string) string {
	return filepath.Join(append([]string{c.options.Dir}, parts...)...)
}

func (c *Cache) basePath(sum string) string { return c.path("bases", sum+".iso") }

// load finds what is there. What is not as it should be goes: it can be fetched again.
func (c *Cache) load() error {
	names, err := os.ReadDir(c.path("bases"))
	if err != nil {
		return fmt.Errorf("reading the folder of base media: %w", err)
	}
	for _, name := range names {
		sum, isBase := strings.CutSuffix(name.Name(), ".iso")
		if !isBase {
			continue
		}
		if err := c.adopt(sum); err != nil {
			_ = os.Remove(c.basePath(sum))
		}
	}
	c.sweep("bases", func(name string) bool {
		sum, isRecord := strings.CutSuffix(name, ".json")
		return isRecord && c.bases[sum] != nil || strings.HasSuffix(name, ".iso")
	})
	c.sweep("sources", func(name string) bool {
		sum, err := os.ReadFile(c.path("sources", name))
		if err != nil || c.bases[string(sum)] == nil {
			return false
		}
		c.sources[name] = string(sum)
		return true
	})
	c.sweep("partial", func(name string) bool {
		info, err := os.Stat(c.path("partial", name))
		return err == nil && time.Since(info.ModTime()) < oldPartial
	})
	return nil
}

// leftover is how old a file must be that nobody claims before it goes: a process that shares the folder may be about to
// claim it.
const leftover = time.Hour

func (c *Cache) sweep(folder string, keep func(name string) bool) {
	names, _ := os.ReadDir(c.path(folder))
	for _, name := range names {
		if keep(name.Name()) {
			continue
		}
		if info, err := name.Info(); err == nil && time.Since(info.ModTime()) > leftover {
			_ = os.Remove(c.path(folder, name.Name()))
		}
	}
}

// adopt takes up a base that is on the disk.
func (c *Cache) adopt(sum string) error {
	if !hexSum.MatchString(sum) {
		return fmt.Errorf("%q is no SHA-256", sum)
	}
	written, err := os.ReadFile(c.path("bases", sum+".json")) //nolint:gosec // It is 64 hex digits.
	if err != nil {
		return err
	}
	var r record
	if err := json.Unmarshal(written, &r); err != nil {
		return err
	}
	file, err := os.Open(c.basePath(sum))
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err == nil && info.Size() != r.Size {
		err = errors.New("it has another size")
	}
	var image *iso.Image
	if err == nil {
		image, err = iso.Open(file, r.Size)
	}
	if err != nil {
		file.Close()
		return err
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.bases[sum] = &Base{Checksum: sum, Size: r.Size, Image: image, Checkpoints: r.Checkpoints, cache: c, file: file, used: info.ModTime()}
	return nil
}

// Lookup is the source's base, if it is there.
func (c *Cache) Lookup(source Source) (*Base, bool) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	sum := source.checksum()
	if sum == "" {
		sum = c.sources[source.key()]
	}
	base := c.bases[sum]
	if base == nil {
		return nil, false
	}
	// Somebody who shares the folder may have made room.
	if _, err := os.Stat(c.basePath(sum)); errors.Is(err, fs.ErrNotExist) && base.readers == 0 {
		c.forget(base)
		return nil, false
	}
	base.used = time.Now()
	return base, true
}

// Checksum is the SHA-256 of the source's base, if that is there. Unlike Lookup, it does not count as a use.
func (c *Cache) Checksum(source Source) (string, bool) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	sum := source.checksum()
	if sum == "" {
		sum = c.sources[source.key()]
	}
	return sum, c.bases[sum] != nil
}

// Fetch is the source's base, fetched when it is not there. Whoever asks for the same at the same time waits for the same
// fetch. Its error is an *Error, or that of ctx.
func (c *Cache) Fetch(ctx context.Context, source Source) (*Base, error) {
	if base, found := c.Lookup(source); found {
		return base, nil
	}
	origin, err := source.parse()
	if err != nil {
		return nil, err
	}
	result := c.fetching.DoChan(source.key(), func() (any, error) {
		base, err := c.fetch(ctx, source, origin)
		return base, err
	})
	select {
	case done := <-result:
		if done.Err != nil {
			return nil, done.Err
		}
		return done.Val.(*Base), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Open opens the base for one reader, whose position in it is its own. While it is open, the base is not given up.
func (b *Base) Open() (*Reading, error) {
	file, err := os.Open(b.cache.basePath(b.Checksum))
	if err != nil {
		return nil, fmt.Errorf("opening base: %w", err)
	}
	b.cache.mutex.Lock()
	defer b.cache.mutex.Unlock()
	b.readers++
	b.used = time.Now()
	return &Reading{File: file, base: b}, nil
}

// Reading is an open base.
type Reading struct {
	*os.File
	base *Base
	once sync.Once
}

// Close ends the reading.
func (r *Reading) Close() error {
	r.once.Do(func() {
		r.base.cache.mutex.Lock()
		defer r.base.cache.mutex.Unlock()
		r.base.readers--
		r.base.used = time.Now()
	})
	return r.File.Close()
}

// forget drops a base that is not on the disk any more; the mutex is held.
func (c *Cache) forget(base *Base) {
	delete(c.bases, base.Checksum)
	base.file.Close()
}

// reserve promises the fetch of the source so many bytes in all, and makes room for them.
func (c *Cache) reserve(key string, bytes int64) error {
	inUse := map[string]bool{}
	if c.options.InUse != nil {
		inUse = c.options.InUse()
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	taken := bytes
	for other, promised := range c.promised {
		if other != key {
			taken += promised
		}
	}
	abandoned := c.abandoned(key)
	for _, partial := range abandoned {
		taken += partial.size
	}
	var idle []*Base
	for _, base := range c.bases {
		taken += base.Size
		if base.readers == 0 && !inUse[base.Checksum] {
			idle = append(idle, base)
		}
	}
	slices.SortFunc(idle, func(a, b *Base) int { return a.used.Compare(b.used) })
	for taken > c.options.MaxBytes || c.lacks(key, bytes) {
		if len(abandoned) > 0 {
			taken -= abandoned[0].size
			_ = os.Remove(abandoned[0].name)
			abandoned = abandoned[1:]
			continue
		}
		if len(idle) == 0 {
			return &Error{Reason: Full, Message: fmt.Sprintf("the cache of base media has no room for it beside those that other SeedImages need, within its %s; "+
				"raise --media-cache-gib, or delete SeedImages that are not needed", human(c.options.MaxBytes))}
		}
		taken -= idle[0].Size
		c.evict(idle[0])
		idle = idle[1:]
	}
	c.promised[key] = bytes
	return nil
}

// left is a partial that nobody is at work on.
type left struct {
	name string
	size int64
}

// abandoned are those of other sources; the mutex is held.
func (c *Cache) abandoned(key string) []left {
	names, _ := os.ReadDir(c.path("partial"))
	var all []left
	for _, entry := range names {
		other, _, _ := strings.Cut(entry.Name(), ".")
		info, err := entry.Info()
		if _, busy := c.promised[other]; busy || other == key || err != nil || !unlocked(c.path("partial", other)) {
			continue
		}
		all = append(all, left{name: c.path("partial", entry.Name()), size: info.Size()})
	}
	return all
}

// lacks tells whether the disk itself has no room; what has arrived is there already.
func (c *Cache) lacks(key string, bytes int64) bool {
	arrived := int64(0)
	if info, err := os.Stat(c.path("partial", key)); err == nil {
		arrived = info.Size()
	}
	room, err := free(c.options.Dir)
	return err == nil && bytes-arrived > room
}

func (c *Cache) release(key string) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	delete(c.promised, key)
}

func (c *Cache) evict(base *Base) {
	_ = os.Remove(c.basePath(base.Checksum))
	_ = os.Remove(c.path("bases", base.Checksum+".json"))
	for key, sum := range c.sources {
		if sum == base.Checksum {
			delete(c.sources, key)
			_ = os.Remove(c.path("sources", key))
		}
	}
	c.forget(base)
}

// human writes a number of bytes as people do.
func human(bytes int64) string {
	units := []string{"bytes", "KiB", "MiB", "GiB", "TiB"}
	n := 0
	for bytes >= 10*1024 && n < len(units)-1 {
		bytes, n = bytes/1024, n+1
	}
	return fmt.Sprintf("%d %s", bytes, units[n])
}

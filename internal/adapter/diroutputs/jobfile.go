package diroutputs

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"

	"sluice"
)

// handle is an open file that several hold; the last one closes it.
type handle struct {
	*os.File
	mu    sync.Mutex
	users int
}

func (h *handle) hold() *handle {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.users++
	return h
}

func (h *handle) release() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.users--; h.users > 0 {
		return nil
	}
	return h.File.Close()
}

// extent is what the index knows of a stream: how many bytes it has and where its last frame is.
type extent struct {
	size int64
	last int64
}

// jobFile is the file of one job, as far as this process knows it.
type jobFile struct {
	job  sluice.JobID
	dir  string
	path string
	disk func(*os.File) error // makes a file durable
	uses int                  // by calls that are going on; guarded by Outputs.mu

	syncing sync.Mutex // held for a sync; before mu

	mu      sync.Mutex
	h       *handle // nil: not open
	writer  bool    // the lock is ours
	salt    salt
	end     int64 // behind the last frame
	dataEnd int64 // behind the last one with data
	synced  int64 // everything before is on the disk
	streams map[stream]extent
	failed  error // why nothing can be written any more
}

// close gives the file back. It is not synced: who closes and wants that says so before.
func (j *jobFile) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.drop()
}

func (j *jobFile) drop() error {
	h := j.h
	j.h, j.writer, j.end, j.dataEnd, j.synced = nil, false, 0, 0, 0
	j.streams = map[stream]extent{}
	if h == nil {
		return nil
	}
	return h.release()
}

// refresh learns what was written since the last look. Who holds the lock knows already.
func (j *jobFile) refresh() error {
	if j.writer {
		return nil
	}
	if j.h == nil {
		f, err := os.Open(j.path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		j.h = (&handle{File: f}).hold()
	}
	size, err := j.size()
	if err != nil {
		return err
	}
	if size < j.end { // its writer cut off what a crash had left
		h := j.h.hold()
		err = j.drop()
		j.h = h
	}
	if err == nil && j.end == 0 {
		err = j.readHeader(size)
	}
	if err != nil || j.end == 0 {
		return err
	}
	j.end, _, err = scan(j.h, j.salt, j.end, size, j.learn)
	return err
}

func (j *jobFile) size() (int64, error) {
	info, err := j.h.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// readHeader sets end behind the file's header, and leaves it 0 where there is none yet.
func (j *jobFile) readHeader(size int64) error {
	if size < int64(fileHeader) {
		return nil
	}
	var b [fileHeader]byte
	if _, err := j.h.ReadAt(b[:], 0); err != nil {
		return err
	}
	if string(b[:len(fileMagic)]) != fileMagic {
		return fmt.Errorf("%s is no file of outputs", j.path)
	}
	copy(j.salt[:], b[len(fileMagic):])
	j.end = int64(fileHeader)
	return nil
}

// learn takes a frame into the index.
func (j *jobFile) learn(f frame) error {
	if f.kind == kindMark {
		j.synced = max(j.synced, f.offset)
		return nil
	}
	j.streams[f.stream] = extent{f.offset + int64(f.length), f.at}
	j.dataEnd = f.end
	return nil
}

// becomeWriter takes the lock and puts the end of the file in order.
func (j *jobFile) becomeWriter() error {
	if j.failed != nil {
		return j.failed
	}
	if j.writer {
		return nil
	}
	if err := j.drop(); err != nil {
		return err
	}
	_, err := os.Lstat(j.path)
	fresh := errors.Is(err, fs.ErrNotExist)
	f, err := os.OpenFile(j.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	j.h = (&handle{File: f}).hold()
	err = j.lock()
	if err == nil {
		err = j.recover()
	}
	if err == nil && fresh {
		err = syncDir(j.dir)
	}
	if err != nil {
		return errors.Join(err, j.drop())
	}
	j.writer = true
	return nil
}

func (j *jobFile) lock() error {
	err := syscall.Flock(int(j.h.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == syscall.EWOULDBLOCK {
		return sluice.Errorf(sluice.Conflict, "another process writes the outputs of job %s", j.job)
	}
	return err
}

// recover reads the whole index, and cuts off what is behind the last mark and not whole.
func (j *jobFile) recover() error {
	size, err := j.size()
	if err == nil {
		err = j.readHeader(size)
	}
	if err != nil {
		return err
	}
	if j.end == 0 {
		return j.begin()
	}
	end, hole, err := scan(j.h, j.salt, j.end, size, j.learn)
	if err != nil {
		return err
	}
	if hole >= j.synced {
		end = hole
	}
	if end, err = j.firstTorn(end); err != nil {
		return err
	}
	if err := j.h.Truncate(end); err != nil {
		return err
	}
	// Again, without what was cut off.
	j.streams, j.dataEnd, j.synced = map[stream]extent{}, 0, 0
	j.end, _, err = scan(j.h, j.salt, int64(fileHeader), end, j.learn)
	return err
}

// firstTorn is where the first frame behind the last mark begins whose data is not what was written, or end. After
// a power failure a header may be on the disk and its data not.
func (j *jobFile) firstTorn(end int64) (int64, error) {
	torn := errors.New("torn")
	buf := make([]byte, maxData)
	place := end
	_, _, err := scan(j.h, j.salt, max(j.synced, int64(fileHeader)), end, func(f frame) error {
		if _, err := j.h.ReadAt(buf[:f.length], f.at+frameHeader); err != nil {
			return err
		}
		if sumOf(buf[:f.length]) != f.sum {
			place = f.at
			return torn
		}
		return nil
	})
	if err != nil && !errors.Is(err, torn) {
		return 0, err
	}
	return place, nil
}

// begin writes the header of a new file.
func (j *jobFile) begin() error {
	b := append([]byte(fileMagic), make([]byte, saltLen)...)
	if _, err := rand.Read(b[len(fileMagic):]); err != nil {
		return err
	}
	if err := j.h.Truncate(0); err != nil {
		return err
	}
	if _, err := j.h.WriteAt(b, 0); err != nil {
		return err
	}
	return j.readHeader(int64(fileHeader))
}

// write appends a piece of a stream.
func (j *jobFile) write(s stream, name string, offset int64, data []byte) error {
	have := j.streams[s]
	if offset < 0 || offset > have.size {
		return fmt.Errorf("%s: a piece at %d leaves a gap: %d bytes are kept", name, offset, have.size)
	}
	fresh := have.size - offset
	if fresh >= int64(len(data)) {
		return nil
	}
	for data = data[fresh:]; len(data) > 0; {
		piece := data[:min(len(data), maxData)]
		have := j.streams[s]
		if err := j.put(frame{stream: s, offset: have.size, prev: have.last}, piece); err != nil {
			return err
		}
		data = data[len(piece):]
	}
	return nil
}

// put appends one frame. If it does not fit, nothing of it stays.
func (j *jobFile) put(f frame, data []byte) error {
	b := appendFrame(make([]byte, 0, frameHeader+len(data)), j.salt, f, data)
	if _, err := j.h.WriteAt(b, j.end); err != nil {
		if cut := j.h.Truncate(j.end); cut != nil {
			return errors.Join(err, cut, j.drop()) // the next one scans and cuts
		}
		return err
	}
	f.at, f.length, f.end = j.end, len(data), j.end+int64(len(b))
	j.end = f.end
	return j.learn(f)
}

// sync makes what was written so far durable. Who comes while another one syncs waits, and often finds that it
// is done.
func (j *jobFile) sync() error {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	h, upTo, err := j.unsynced()
	if h == nil || err != nil {
		return err
	}
	err = errors.Join(j.disk(h.File), h.release())
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil {
		// The kernel reports this once and drops the data: a second try would say that all is well.
		e := sluice.Errorf(sluice.Contact, "the disk that holds %s failed; this process writes no more to it", j.path).Lasts().
			WithHint("look at the disk, then start again: what is there is looked at then")
		e.Err = err
		j.failed = e
		return e
	}
	if j.h != h { // closed meanwhile
		return nil
	}
	j.synced = max(j.synced, upTo)
	// The mark only saves work after a crash, so it need not fit.
	_ = j.put(frame{stream: stream{kind: kindMark}, offset: upTo}, nil)
	return nil
}

// unsynced returns the file, held, and up to where it has to be synced; nil if it need not be.
func (j *jobFile) unsynced() (*handle, int64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := os.Lstat(j.path); errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err := j.becomeWriter(); err != nil {
		return nil, 0, err
	}
	if j.dataEnd <= j.synced {
		return nil, 0, nil
	}
	return j.h.hold(), j.dataEnd, nil
}

func fdatasync(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); err != syscall.EINTR {
			return err
		}
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

var _ io.ReaderAt = (*handle)(nil)

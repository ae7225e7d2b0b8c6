package sqlitelog

import (
	"sluice"

	"golang.org/x/sys/unix"
)

// remote are the kinds of file system on which locks or shared memory do not hold for all who see the file. FUSE
// is one of them because the kernel does not say what is behind it: sshfs as well as a local disk.
func remote(magic int64) (name string, is bool) {
	switch uint32(magic) {
	case unix.NFS_SUPER_MAGIC:
		return "NFS", true
	case unix.SMB_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC:
		return "SMB", true
	case unix.V9FS_MAGIC:
		return "9P", true
	case unix.CEPH_SUPER_MAGIC:
		return "Ceph", true
	case unix.AFS_SUPER_MAGIC, unix.AFS_FS_MAGIC:
		return "AFS", true
	case unix.CODA_SUPER_MAGIC:
		return "Coda", true
	case unix.NCP_SUPER_MAGIC:
		return "NCP", true
	case unix.OCFS2_SUPER_MAGIC:
		return "OCFS2", true
	case unix.FUSE_SUPER_MAGIC:
		return "FUSE", true
	case 0x01161970:
		return "GFS2", true
	case 0x0BD00BD0:
		return "Lustre", true
	case 0x47504653:
		return "GPFS", true
	}
	return "", false
}

func refuseNetwork(dir string, kind func(string) (int64, error)) error {
	if kind == nil {
		kind = kindOf
	}
	magic, err := kind(dir)
	if err != nil {
		return err
	}
	if name, is := remote(magic); is {
		return sluice.Errorf(sluice.Contact, "the journal cannot be in %s: it is on %s, where locks are not sure", dir, name).
			WithHint("set XDG_STATE_HOME to a directory on a disk of this machine; see %s", manual)
	}
	return nil
}

func kindOf(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return int64(s.Type), nil // its width differs between machines
}

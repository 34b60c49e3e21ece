// Package iso makes one boot medium into many: it reads a base ISO 9660 image, and plans how the few kilobytes that
// differ from machine fleet to machine fleet are put in place while the base is streamed. Nothing is rebuilt and nothing
// is copied: a Layout is a list of pieces, most of which are "these bytes of the base".
//
//	volume.go      Open: the descriptors, and what is refused
//	directory.go   directories, their records, Find
//	rockridge.go   long names and modes, read and written
//	partition.go   the partition tables of hybrid images
//	boot.go        which firmware the medium boots on, and which kernel its own boot loader would start
//	overlay.go     Plan: where the config goes
//	rootdir.go     a root directory with one more record in it
//	cpio.go        the config as an initrd
//	layout.go      the pieces, as something to read, seek in and send
//	digest.go      the SHA-256 of a layout, from where it begins to differ
//
// Where the config goes, in the order of choice:
//
//  1. The base has a file /boot/seed.img, of zeros, that its boot loader gives to the kernel as a second initrd. The
//     config is written over its beginning as a cpio archive that holds /rancheros/seed.yaml. It is there before any
//     device is looked for, on a disc, a stick and a RAM disk alike.
//  2. Else the root directory gets a record for /livecd-cloud-config.yaml, which the live systems of the Elemental and cOS
//     family read, in the free end of its blocks, and the text itself stands behind the end of the image. No file of the
//     base is touched.
//  3. Where the root directory is full, it moves behind the end as well, one block larger.
//
// An image that was made to be mounted as a partition of a stick too holds a second set of directories for that. They get
// the record as well, and the text stands in the gap in front of them, where both can see it.
//
// What is read here comes from strangers: every size is checked against the image before it is used, nothing is followed
// in circles, and memory stays bounded whatever the image says.
package iso

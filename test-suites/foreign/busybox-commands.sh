# Applets of busybox as people use them. The output depends on nothing but the applets and the kernel's answers, so it must be
# the same on every Linux: what differs from boot to boot is taken out here, by the applets themselves.

step=0
step() { step=$((step + 1)); echo "-- $step: $*"; }
no_numbers() { sed -E 's/[0-9]+/N/g'; }

mkdir /tmp/work && cd /tmp/work || exit 1
umask 022

step 'the shell: ash'
x='a b'; set -- $x c; echo $# "$*" "${x#a }" $((6 * 7)) "${y:-unset}"
f() { local v=in; echo $v "$1"; return 3; }; f arg; echo $?
for i in 1 2 3; do case $i in 2) continue ;; esac; printf '%s ' $i; done; echo
cat <<END | tr a-z A-Z
here $((1 + 1)) $(echo document)
END
(trap 'echo trapped; exit 4' TERM; kill -TERM $(sh -c 'echo $PPID'); echo no) ; echo "status $?"
sleep 30 & kill $!; wait $!; echo "terminated $?"; (exit 6) & wait $!; echo "ended $?"
seq 3 | while read -r n; do echo "line $n"; done; echo one > o; echo two >> o; cat < o; exec 3< o; read -r l <&3; exec 3<&-; echo "$l"
i=0; until [ $i -ge 3 ]; do i=$((i + 1)); done; echo $i; getopts ab: o -b v; echo "$o $OPTARG"; eval 'echo ev'; type cd; command -v test

step 'files'
mkdir -p a/b/c; touch a/f; echo text > a/t; cp -a a z; ls -1R z; mv z/t z/u; rm z/f; rmdir z/b/c; find z | sort; rm -r z; test -e z || echo gone
ln a/t hard; ln -s a/t soft; readlink soft; readlink -f soft; realpath soft; stat -c '%h %F %a %s' a/t soft; link hard hard2; unlink hard2; ls -l hard | cut -c1-12
chmod 4711 hard; stat -c %a hard; chown 12:34 hard; stat -c '%u %g' hard; chgrp 0 hard; stat -c %g hard; chmod u=rw,go= hard; stat -c %A hard; mkdir -m 1777 sticky; stat -c %A sticky
touch -d '2020-01-02 03:04:05' old; stat -c %y old | cut -c1-19; date -r old +%s; [ hard -nt old ] && echo newer; truncate -s 4096 big; stat -c %s big; fallocate -l 8192 falloc; wc -c < falloc
mktemp -p . name.XXXXXX | sed 's/\.[A-Za-z0-9]*$/.X/'; d=$(mktemp -d); stat -c %a $d; rmdir $d; mkfifo fifo; (echo through > fifo) & cat fifo; wait; mknod null c 1 3; echo x > null; stat -c '%F %t %T' null
du -s a > /dev/null && echo du; df /tmp | tail -1 | no_numbers | tr -s ' '; sync; basename /x/y.z .z; dirname /x/y.z; pwd; which ls; shred -u falloc; test -e falloc || echo shredded

step 'text'
printf 'pear\napple\nfig\napple\n' > fruit; sort fruit; sort -u fruit | nl; uniq -c fruit | tr -s ' '; cut -c1-2 fruit; head -n 1 fruit; tail -n 1 fruit; wc fruit; tac fruit; rev fruit
grep -n apple fruit; grep -v a fruit; grep -c . fruit; egrep 'p+' fruit; fgrep fig fruit; sed -n '2p;s/pear/plum/p' fruit; sed -i 's/fig/date/' fruit; cat fruit; awk '{n[$1]++} END {for (k in n) print k, n[k]}' fruit | sort
paste fruit fruit | head -1; fold -w 3 fruit | head -2; expand -t 4 <<END
	x
END
echo 'a    b' | unexpand -a -t 4 | od -c | head -1; tr -d p < fruit | head -1; diff fruit a/t > /dev/null; echo "diff $?"; cmp fruit fruit && echo same; seq 5 | shuf | sort -n | tr '\n' ' '; echo
seq 1 3 10 | xargs echo; seq 4 | xargs -n 2 echo; echo 'x,y' | awk -F, '{printf "%s-%s %d\n", $2, $1, length($0)}'; ed fruit <<END
1p
q
END
strings -n 4 /bin/busybox | grep -c BusyBox | no_numbers; echo text | tee t1 t2; cat t1 t2; dos2unix < fruit | cmp - fruit && echo unix; printf 'a\n' | unix2dos | od -An -c; ts < /dev/null; factor 84

step 'numbers and encodings'
expr 3 + 4; expr length four; echo '2^10; 7/2' | bc; dc -e '6 7 * p'; printf '%03d|%x|%5s|\n' 7 255 r; od -An -tx1 o; hexdump -C o; xxd o; base64 o; base64 o | base64 -d; crc32 o; md5sum o; sha1sum o; sha256sum o; sha512sum o | cut -c1-20; sha3sum o | cut -c1-20
md5sum o > sums; md5sum -c sums; uuencode o name | uudecode -o back; cmp o back && echo back; seq 20000 | md5sum; date -u -d @86400 '+%F %T %a'; date -u -d '2024-02-29 01:02:03' +%s; cal 2 2024; mkpasswd -m md5 -S saltsalt secret

step 'archives'
tar cf t.tar a fruit; tar tf t.tar | sort; mkdir x; tar xf t.tar -C x; diff -r a x/a && echo tar; tar czf t.tgz a; tar tzf t.tgz | wc -l; find a | cpio -o -H newc 2>/dev/null > t.cpio; mkdir y; (cd y && cpio -id < ../t.cpio 2>/dev/null); diff -r a y/a && echo cpio
seq 5000 > n; gzip -c n > n.gz; gunzip -c n.gz | cmp - n && echo gzip; zcat n.gz | tail -1; bzip2 -c n > n.bz2; bunzip2 -c n.bz2 | cmp - n && echo bzip2; bzcat n.bz2 | head -1; ar -t t.tar 2>/dev/null || echo 'no ar archive'; head -c 100 n.gz | gunzip -c > /dev/null 2>&1 || echo 'cut short'
dd if=n of=block bs=100 skip=1 count=2 2>/dev/null; wc -c < block; dd if=/dev/zero bs=1k count=2 2>/dev/null | wc -c; cp n m; echo change >> m; diff -u n m | tail -1; diff -u n m > p; patch n < p; cmp n m && echo patched

step 'processes'
sleep 50 & s=$!; ps -o pid,comm | awk -v p=$s '$1 == p {print $2}'; pidof sleep | grep -qw $s && echo pidof; kill -STOP $s; sleep 0.2 2>/dev/null || usleep 200000; grep State /proc/$s/status | cut -f2 | cut -c1; kill -CONT $s; killall sleep; wait $s 2> /dev/null; echo "killall $?"
timeout 1 sleep 20; echo "timeout $?"; renice -n 5 -p $$ > /dev/null; cut -d' ' -f19 /proc/$$/stat; renice -n -5 -p $$ > /dev/null; nohup echo nohup 2>/dev/null; env -i A=1 env; setsid sh -c 'echo session'; time true 2>&1 | wc -l; start-stop-daemon -S -p /tmp/none -x /bin/true; echo "ssd $?"
id; id -un; whoami; groups; uname -s -m; arch; hostname box; hostname; nproc | no_numbers; uptime | wc -l; free | no_numbers | head -1; yes | head -n 2; true && ! false && echo logic; usleep 1000; sh -c 'exit 9'; echo $?; tty; ttysize 2>/dev/null; run-parts --test a
taskset -p $$ | no_numbers; ionice > /dev/null 2>&1; echo "ionice $?"; setpriv --no-new-privs id -u; su -c 'echo su' root; watch -n 1 -t true > /dev/null 2>&1 & sleep 1; kill $!; wait $! 2>/dev/null; top -b -n 1 | head -1 | no_numbers | cut -c1-4; dmesg | wc -l | no_numbers

step 'mounts'
mkdir m1 m2; mount -t tmpfs -o size=64k small m1; echo on > m1/f; mount --bind m1 m2; cat m2/f; grep -c /tmp/work/m /proc/mounts; mount -o remount,ro,bind m2; touch m2/g 2>&1 | sed 's/.*: //'; umount m2; dd if=/dev/zero of=m1/fill bs=4k count=100 2>&1 | grep -c 'No space'; rm m1/fill; rmdir m1 2>&1 | sed 's/.*: //'
mount | grep small | sed 's/ (.*//'; umount m1; umount m1 2>&1 | sed 's/.*: //'; unshare -m sh -c 'mount -t tmpfs x m1; touch m1/inside; ls m1'; ls m1 | wc -l; mkdir root; cp /bin/busybox root/; chroot root /busybox ls /; nsenter -t $$ -m true; echo "nsenter $?"; fsfreeze -f /nowhere 2>/dev/null; echo "fsfreeze $?"

step 'terminals and the rest'
clear | od -An -c | head -1; reset > /dev/null 2>&1; stty -F /dev/console > /dev/null; echo "stty $?"; echo 'less' | less | cat; echo more | more; test -d / -a ! -f /; echo $?; [ 1 -lt 2 ]; echo $?; sysctl -n kernel.ostype; cat /proc/sys/kernel/ostype; ipcalc -n 192.168.1.5/24; getopt ab: -a -b x; logname 2>/dev/null; hostid | wc -c; lsmod > /dev/null; blockdev --getsz /dev/nothing 2>/dev/null; echo "blockdev $?"
mkdir -p www && echo page > www/index.html; echo 'one two' | awk '{print $2, $1}' | rev; echo "$(busybox --list | wc -l) applets"; ln -s nowhere dangling; ls dangling; cat dangling 2>&1 | sed 's/.*: //'; find . -type l | sort; find . -name '*.tgz' -exec ls {} \;; find . -size +10 -type f | wc -l | no_numbers

step 'errors'
mkdir a 2>&1 | sed 's/.*: //'; rmdir a 2>&1 | sed 's/.*: //'; cat a 2>&1 | sed 's/.*: //'; mv a a/b 2>&1 | sed 's/.*: //'; ls nowhere 2>&1 | sed 's/.*: //'; kill 999999 2>&1 | sed 's/.*: //'; touch fruit/x 2>&1 | sed 's/.*: //'; ./fruit 2>&1 | sed 's/.*: //'; nosuchcommand 2>&1 | sed 's/.*: //'; mount -t nosuchfs x m1 2>&1 | sed 's/.*: //'; umount /proc/self 2>&1 | sed 's/.*: //'

cd / && rm -r /tmp/work && ls /tmp | wc -l
echo "all $step steps were taken"

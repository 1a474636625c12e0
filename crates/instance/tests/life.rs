//! Instances from start to removal, for real.

mod lab;

use std::io::{Read, Write};
use std::net::TcpStream;

use lab::{Lab, eventually, possible, spec, within};

#[test]
fn user_data_runs_and_what_it_started_lives_on() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    let instance = spec(
        "#!/bin/bash\nmkdir -p /srv/pod\ncd /srv/pod\necho hello-pod > index.html\n\
         nohup python3 -m http.server 8080 > /var/log/pod.log 2>&1 &\n\
         echo to-stdout\necho DIRECT | tee /dev/console\n(sleep 1; echo late) &\n",
    );
    lab.run(&instance);
    let console = lab.await_console(&instance.id, "late");
    for text in ["to-stdout", "DIRECT", "first boot 1", "cloud-init: finished"] {
        assert!(console.contains(text), "{text}: {console}");
    }
    let page = eventually("page from the instance", || {
        within(&instance.netns, || {
            let mut stream = TcpStream::connect("127.0.0.1:8080")?;
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
            let mut page = String::new();
            stream.read_to_string(&mut page).map(|_| page)
        })
    });
    assert!(page.contains("hello-pod"), "{page}");
    let (status, log, _) = lab.shell(&instance.id, "cat /var/log/cloud-init-output.log; exit 7");
    assert_eq!(status, 7);
    assert!(log.contains("to-stdout") && log.contains("late"), "{log}");
}

"""IPVS, the kernel's load balancer: virtual servers, real servers, schedulers and recorded connections, as ipvsadm prints them."""
